"""Several replies in one pass: none waits for another's end, none disturbs another."""

import threading

import pytest

from runtime.engine import Engine
from tests.runtime.scripted import ScriptedBackend


def asking(text):
    return [{"role": "user", "content": text}]


def engine_of(script=b"abcdef", *, parallel=None, **options):
    backend = ScriptedBackend(script, **{"sequences": 4} | options)
    return Engine("scripted", backend, parallel=parallel)


def text_of(reply):
    return "".join(piece.text for piece in reply)


def begun(engine, *texts, **options):
    replies = [engine.chat(asking(text), **options) for text in texts]
    for reply in replies:
        reply.begin()
    return replies


def gated(**options):
    """An engine whose first choice waits, so that a test can line up what comes after it."""
    gate = threading.Semaphore(0)
    engine = engine_of(gate=gate, **options)
    first = engine.chat(asking("first"))
    first.begin()
    engine.backend.choosing.acquire()
    return engine, first, gate


def test_replies_are_computed_in_one_pass():
    engine, first, gate = gated(chunk=64)
    others = begun(engine, "second", "third")
    gate.release(100)
    assert [text_of(reply) for reply in (first, *others)] == ["abcdef"] * 3
    assert [(0, 1), (1, 1), (2, 1)] in engine.backend.passes


def test_a_running_reply_gets_a_token_in_every_pass_while_a_prompt_is_read():
    engine, first, gate = gated(script=b"a" * 40)
    (second,) = begun(engine, "x" * 60)
    gate.release(1000)
    assert text_of(first) == text_of(second) == "a" * 40
    mixed = [work for work in engine.backend.passes if len(work) == 2 and work[1][1] > 1]
    assert len(mixed) >= 20
    assert all(work == [(0, 1), (1, 3)] for work in mixed[:-1])


def test_a_reply_beyond_parallel_waits_its_turn():
    engine, first, gate = gated(parallel=1)
    said, ended = [], threading.Semaphore(0)
    replies = {name: engine.chat(asking(name)) for name in ("second", "third")}
    for name, reply in replies.items():
        reply.begin(lambda item, name=name: said.append(name) if item else ended.release())
    assert engine.counts()[:2] == (1, 2)
    gate.release(100)
    assert text_of(first) == "abcdef"
    ended.acquire()
    ended.acquire()
    assert said == ["second"] * 7 + ["third"] * 7
    assert max(len(work) for work in engine.backend.passes) == 1


def test_a_reply_that_finds_no_room_starts_over_and_says_the_same():
    script = bytes(range(33, 126))
    engine, first, gate = gated(script=script, cells=160)
    (second,) = begun(engine, "second")
    gate.release(1000)
    assert text_of(first) == text_of(second) == script.decode()
    assert any(len(work) == 2 for work in engine.backend.passes)
    assert sum(map(len, engine.backend.held)) <= 160


def test_an_idle_chat_is_forgotten_before_a_running_one_is_disturbed():
    engine = engine_of(cells=60)
    text_of(engine.chat(asking("x" * 40)))
    assert text_of(engine.chat(asking("y" * 40))) == "abcdef"
    again = engine.chat(asking("y" * 40))
    assert text_of(again) == "abcdef"
    assert again.cached_tokens == again.prompt_tokens - 1


def test_two_chats_in_turns_keep_their_own_beginnings():
    engine = engine_of()
    talks = [asking("hello"), asking("good morning")]
    for turn in range(3):
        for talk in talks:
            reply = engine.chat(talk)
            said = text_of(reply)
            if turn:  # the end of the last reply, then a user's x, and the next reply's beginning
                assert reply.prompt_tokens - reply.cached_tokens == 5
            talk += [{"role": "assistant", "content": said}, *asking("x")]


def test_a_chat_with_the_same_beginning_takes_a_copy_and_leaves_the_original():
    system = [{"role": "system", "content": "be kind " * 10}]
    engine = engine_of()
    one, other = [*system, *asking("one question")], [*system, *asking("another")]
    text_of(engine.chat(one))
    second = engine.chat(other)
    text_of(second)
    assert ("copy", second.cached_tokens) in engine.backend.log
    assert second.cached_tokens > 80
    again = engine.chat(one)
    text_of(again)
    assert again.cached_tokens == again.prompt_tokens - 1


def test_the_chat_that_was_idle_longest_loses_its_place():
    engine = engine_of(sequences=2)
    for text in ("AAAA", "BBBB", "CCCC"):
        text_of(engine.chat(asking(text)))
    newer, older = (engine.chat(asking(text)) for text in ("BBBB", "AAAA"))
    text_of(newer)
    text_of(older)
    assert newer.cached_tokens == newer.prompt_tokens - 1
    assert older.cached_tokens == 1


def test_a_reply_that_nobody_holds_any_more_is_not_computed_on():
    engine, first, gate = gated()
    del first
    gate.release(100)
    assert text_of(engine.chat(asking("second"), max_tokens=1)) == "a"
    assert engine.backend.chosen == 2


@pytest.mark.parametrize("how", ["close", "cancelled", "broken"])
def test_a_reply_that_is_given_up_leaves_the_others(how):
    gone = threading.Event()

    def cancelled():
        if how == "broken" and gone.is_set():
            raise ValueError("no idea")
        return how == "cancelled" and gone.is_set()

    gate = threading.Semaphore(0)
    engine = engine_of(gate=gate)
    first = engine.chat(asking("first"), cancelled=cancelled)
    first.begin()
    engine.backend.choosing.acquire()
    (second,) = begun(engine, "second")
    gone.set()
    if how == "close":
        first.close()
    gate.release(100)
    assert text_of(second) == "abcdef"
    assert first.tokens == 1
    assert text_of(first) == ""


def test_a_failed_choice_ends_its_own_reply_only():
    engine, first, gate = gated()
    first._task.sampler.rest = iter([object()])
    (second,) = begun(engine, "second")
    gate.release(100)
    with pytest.raises(TypeError):
        list(first)
    assert text_of(second) == "abcdef"


def test_the_cache_of_a_tiny_backend_that_never_has_room_is_an_error_not_a_loop():
    with pytest.raises(RuntimeError, match="the cache is full"):
        text_of(engine_of(cells=5).chat(asking("hello")))
