"""A reply that is alone is written in its reader's thread; whoever joins, leaves or breaks in."""

import threading

import pytest

from runtime.engine import Engine
from tests.runtime.scripted import ScriptedBackend


class Watched(ScriptedBackend):
    """Tells which thread took each pass; `before` is called in passes of a reader's thread."""

    def __init__(self, script=b"abcdef", **options):
        super().__init__(script, **{"sequences": 4} | options)
        self.threads: list[str] = []
        self.before = lambda: None

    def decode(self, work):
        self.threads.append(threading.current_thread().name)
        if threading.current_thread().name != "engine":
            self.before()
        super().decode(work)


def engine_of(*script, **options):
    return Engine("watched", Watched(*script, **options))


def asking(text):
    return [{"role": "user", "content": text}]


def text_of(reply):
    return "".join(piece.text for piece in reply)


def interrupt():
    raise KeyboardInterrupt


def test_a_reply_that_is_alone_is_written_by_its_reader_from_the_second_token_on():
    engine = engine_of()
    assert text_of(engine.chat(asking("hello"))) == "abcdef"
    threads = engine.backend.threads
    assert threads[-6:] == [threading.current_thread().name] * 6
    assert set(threads[:-6]) == {"engine"}


def test_a_reply_that_was_begun_goes_on_without_its_reader():
    engine = engine_of()
    reply, ended = engine.chat(asking("hello")), threading.Event()
    reply.begin(lambda item: None if item else ended.set())
    assert ended.wait(20)
    assert set(engine.backend.threads) == {"engine"}


def test_a_second_reply_takes_the_first_along_and_leaves_it_to_its_reader_again():
    engine = engine_of(b"a" * 60)
    first = engine.chat(asking("first"))
    text = next(first).text + next(first).text
    assert text_of(engine.chat(asking("second"), max_tokens=3)) == "aaa"
    together = [len(work) for work in engine.backend.passes].index(2)
    assert engine.backend.threads[together] == "engine"
    assert text + text_of(first) == "a" * 60
    assert engine.backend.threads[-1] == threading.current_thread().name


def test_a_reader_that_pauses_holds_up_nobody():
    engine = engine_of()
    paused = engine.chat(asking("paused"))
    next(paused), next(paused)
    assert text_of(engine.chat(asking("other"))) == "abcdef"
    assert text_of(paused) == "cdef"


@pytest.mark.parametrize("how", ["close", "drop", "cancelled"])
def test_a_reader_that_leaves_gives_its_place_back(how):
    engine, gone = engine_of(sequences=1), threading.Event()
    reply = engine.chat(asking("first"), cancelled=gone.is_set)
    next(reply), next(reply)
    if how == "close":
        reply.close()
    elif how == "drop":
        del reply
    else:
        gone.set()
        assert next(reply, None) is None
    assert text_of(engine.chat(asking("second"))) == "abcdef"
    assert engine.backend.chosen == 2 + 7
    assert engine.counts()[:2] == (0, 0)


def test_a_step_that_is_broken_into_ends_its_reply_and_leaves_nothing_behind():
    engine = engine_of()
    text_of(engine.chat(asking("an older chat")))
    reply = engine.chat(asking("first"))
    next(reply)
    engine.backend.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        next(reply)
    with pytest.raises(RuntimeError, match="the reply was interrupted"):
        next(reply)
    engine.backend.before = lambda: None
    after = engine.chat(asking("an older chat"))
    assert text_of(after) == "abcdef"
    assert after.cached_tokens == 0
    assert engine.counts() == (0, 0, after.prompt_tokens + 6)


def test_an_engine_whose_reader_was_interrupted_still_closes():
    engine = engine_of()
    reply = engine.chat(asking("first"))
    next(reply)
    engine.backend.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        next(reply)
    engine.close()
    assert engine.backend.closed
    with pytest.raises(RuntimeError, match="closed"):
        next(reply)


def test_an_engine_may_be_closed_within_a_readers_step_as_a_signal_handler_does():
    engine = engine_of()
    reply = engine.chat(asking("first"))
    next(reply)
    engine.backend.before = engine.close
    with pytest.raises(RuntimeError, match="closed"):
        text_of(reply)
    engine._batcher._thread.join(20)
    assert engine.backend.closed


def test_a_failed_choice_in_a_readers_step_ends_its_own_reply_only():
    engine = engine_of()
    reply = engine.chat(asking("first"))
    next(reply)
    reply._task.sampler.rest = iter([object()])
    with pytest.raises(TypeError):
        next(reply)
    assert text_of(engine.chat(asking("second"))) == "abcdef"


def test_a_reader_whose_reply_outgrows_the_cache_forgets_an_idle_chat():
    engine = engine_of(bytes(range(33, 93)), cells=90)
    assert text_of(engine.chat(asking("x" * 20), max_tokens=1)) == "!"
    assert text_of(engine.chat(asking("y" * 4))) == bytes(range(33, 93)).decode()
    assert engine.backend.threads[-1] == threading.current_thread().name


def test_readers_in_many_threads_read_what_one_alone_reads():
    engine, found = engine_of(bytes(range(33, 93)), chunk=64), []

    def work(number):
        for turn in range(20):
            found.append(text_of(engine.chat(asking(f"{number} {turn}"), max_tokens=7 + turn)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = bytes(range(33, 93)).decode()
    assert sorted(found) == sorted([whole[: 7 + turn] for turn in range(20)] * 6)
    assert engine.counts()[:2] == (0, 0)
