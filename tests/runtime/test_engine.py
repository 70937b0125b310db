"""The engine: what it says is what the file says, whatever was asked before."""

import json
import shutil
import threading

import pytest

from distill.core.errors import BadInput, Unsupported
from distill.core.machine import physical_cores
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from runtime import load
from runtime.engine import Engine, PromptTooLong
from tests.runtime.files import ending_early, greedy
from tests.runtime.scripted import ScriptedBackend

HELLO = [{"role": "user", "content": "hi"}]
LONGER = [{"role": "user", "content": "I lost my job today and I do not know what to do."}]


@pytest.fixture(scope="module")
def engine(tiny_gguf):
    with load(tiny_gguf) as opened:
        yield opened


def say(engine, messages=HELLO, **options):
    """Text, reply and pieces of one chat."""
    reply = engine.chat(messages, **options)
    pieces = list(reply)
    return "".join(piece.text for piece in pieces), reply, pieces


def scripted(*script, **options):
    return Engine("scripted", ScriptedBackend(script, **options))


def test_greedy_text_is_that_of_a_plain_loop_over_the_same_file(tiny_gguf, engine):
    expected = greedy(tiny_gguf, engine.prompt_ids(LONGER), 40)[1]
    assert say(engine, LONGER, max_tokens=40, temperature=0)[0] == expected


def test_the_end_token_ends_a_reply_and_is_neither_text_nor_counted():
    text, reply, pieces = say(scripted(b"Oh no."))
    assert (text, reply.finish_reason, reply.tokens) == ("Oh no.", "stop", 6)
    assert sum(piece.tokens for piece in pieces) == 6
    assert [piece.finish_reason for piece in pieces] == [None] * 6 + ["stop"]


def test_the_end_token_that_a_file_names_ends_a_reply(tiny_gguf, tmp_path, engine):
    count = ending_early(tiny_gguf, tmp_path / "ends.gguf", engine.prompt_ids(HELLO))
    with load(tmp_path / "ends.gguf") as ends:
        _, reply, _ = say(ends, temperature=0, max_tokens=50)
        assert (reply.finish_reason, reply.tokens) == ("stop", count)


def test_max_tokens_cuts_and_says_so():
    text, reply, pieces = say(scripted(b"Oh no."), max_tokens=2)
    assert (text, reply.finish_reason, len(pieces)) == ("Oh", "length", 2)


def test_a_reply_that_fills_the_context_says_length(tiny_gguf):
    with load(tiny_gguf, context=64) as narrow:
        _, reply, _ = say(narrow, max_tokens=None, seed=1)
    assert reply.finish_reason == "length"
    assert reply.prompt_tokens + reply.tokens == 64


def test_a_prompt_that_leaves_no_room_is_refused_with_both_numbers():
    engine = scripted(b"x", context=8)
    with pytest.raises(PromptTooLong, match="take 10 tokens and the context holds 8"):
        engine.chat([{"role": "user", "content": "seven.."}])
    assert say(engine, [{"role": "user", "content": "four"}])[1].finish_reason == "length"


def test_a_stop_string_ends_a_reply_before_it():
    text, reply, _ = say(scripted(b"Hi. User: more"), stop=["User:"])
    assert (text, reply.finish_reason, reply.tokens) == ("Hi. ", "stop", 9)


def test_one_stop_string_may_come_without_a_list():
    assert say(scripted(b"one two"), stop="two")[0] == "one "


def test_text_held_back_for_a_stop_string_comes_with_the_last_piece():
    assert say(scripted(b"a Us"), stop=["User:"], max_tokens=4)[0] == "a Us"


def test_a_character_over_several_tokens_comes_out_whole():
    text, _, pieces = say(scripted("é🐶".encode()))
    assert text == "é🐶"
    assert [piece.text for piece in pieces] == ["", "é", "", "", "", "🐶", ""]


def test_the_same_seed_gives_the_same_reply_and_another_seed_another(engine):
    one, again, other = (say(engine, seed=seed, max_tokens=30)[0] for seed in (7, 7, 8))
    assert one == again != other


def test_replies_without_a_seed_differ(engine):
    assert say(engine, max_tokens=30)[0] != say(engine, max_tokens=30)[0]


def test_sampling_with_one_candidate_is_greedy(engine):
    greedy = say(engine, temperature=0, max_tokens=20)[0]
    for options in ({"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}, {"temperature": 1e-9}):
        assert say(engine, max_tokens=20, **options)[0] == greedy


def test_a_strong_repetition_penalty_uses_no_token_twice_and_the_file_may_recommend_it(
    tiny_folder, tmp_path
):
    folder = tmp_path / "student"
    shutil.copytree(tiny_folder, folder)
    path = folder / "generation_config.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**known, "repetition_penalty": 10.0}))
    write_f16(open_checkpoint(folder), tmp_path / "student.gguf")
    with load(tmp_path / "student.gguf") as recommends:
        told = pieces_of(recommends)
        plain = pieces_of(recommends, repetition_penalty=1.0)
    assert len(told) > 10
    assert len(set(told)) == len(told)
    assert len(set(plain)) < len(plain)


def pieces_of(engine, **options):
    pieces = say(engine, LONGER, temperature=0, max_tokens=40, **options)[2]
    return [piece.text for piece in pieces if piece.text.isascii() and piece.text.strip()]


def test_the_second_turn_evaluates_only_what_is_new(engine):
    first = say(engine, LONGER, temperature=0, max_tokens=10)[0]
    turns = [*LONGER, {"role": "assistant", "content": first}, *HELLO]
    _, reply, _ = say(engine, turns, max_tokens=1)
    assert reply.cached_tokens >= len(engine.prompt_ids(LONGER))


def test_cached_tokens_are_exact():
    engine = scripted(b"abc")
    _, cold, _ = say(engine)
    _, warm, _ = say(engine)
    assert (cold.cached_tokens, warm.cached_tokens) == (0, cold.prompt_tokens - 1)
    turns = [*HELLO, {"role": "assistant", "content": "abc"}, *HELLO]
    _, next_turn, _ = say(engine, turns)
    assert next_turn.cached_tokens == cold.prompt_tokens + 3


def test_text_does_not_depend_on_what_was_cached(tiny_gguf, engine):
    turns = [*LONGER, {"role": "assistant", "content": "That sounds hard."}, *HELLO]
    say(engine, LONGER, max_tokens=5)
    warm, reply, _ = say(engine, turns, temperature=0, max_tokens=40)
    assert reply.cached_tokens > 0
    with load(tiny_gguf) as fresh:
        assert say(fresh, turns, temperature=0, max_tokens=40)[0] == warm


def test_a_file_that_cannot_rewind_is_evaluated_anew():
    engine = scripted(b"abc", rewinds=False)
    say(engine)
    text, reply, _ = say(engine)
    assert (text, reply.cached_tokens) == ("abc", 0)


def test_replies_that_are_read_in_turns_do_not_disturb_each_other(engine):
    alone = [say(engine, m, temperature=0, max_tokens=15)[0] for m in (HELLO, LONGER)]
    replies = [engine.chat(m, temperature=0, max_tokens=15) for m in (HELLO, LONGER)]
    texts = ["", ""]
    for pair in zip(*replies, strict=True):
        texts = [text + piece.text for text, piece in zip(texts, pair, strict=True)]
    assert texts == alone


def test_replies_from_two_threads_are_those_of_one(engine):
    alone = {i: say(engine, seed=i, max_tokens=10)[0] for i in range(4)}
    found = {}

    def work(i):
        found[i] = say(engine, seed=i, max_tokens=10)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == alone


def test_a_cancelled_reply_stops_inside_its_prompt():
    backend = ScriptedBackend(b"never")
    engine = Engine("scripted", backend)
    reply = engine.chat(LONGER, cancelled=lambda: len(backend.cached) >= 8)
    assert list(reply) == []
    assert (len(backend.cached), backend.chosen, reply.finish_reason) == (8, 0, None)


def test_a_reply_that_is_closed_early_leaves_the_next_one_right(engine):
    expected = say(engine, temperature=0, max_tokens=10)[0]
    reply = engine.chat(LONGER, max_tokens=10)
    next(reply)
    reply.close()
    assert say(engine, temperature=0, max_tokens=10)[0] == expected


def test_after_a_failed_step_nothing_is_taken_for_cached():
    backend = ScriptedBackend(b"ok")
    engine = Engine("scripted", backend)
    backend.fails = True
    with pytest.raises(RuntimeError, match="scripted failure"):
        say(engine)
    backend.fails = False
    text, reply, _ = say(engine)
    assert (text, reply.cached_tokens) == ("ok", 0)


def test_timings_say_what_happened(engine):
    _, reply, _ = say(engine, LONGER, max_tokens=5)
    timings = reply.timings()
    assert (timings["prompt_tokens"], timings["tokens"]) == (reply.prompt_tokens, 5)
    assert 0 < timings["prompt_s"] <= timings["first_token_s"]
    assert timings["tokens_per_s"] > 0
    assert say(engine, max_tokens=1)[1].timings()["tokens_per_s"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"temperature": -1.0}, "temperature is -1"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"min_p": -0.1}, "min_p is -0.1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"repetition_penalty": -1.0}, "repetition_penalty is -1"),
        ({"repetition_penalty": float("inf")}, "repetition_penalty is inf"),
        ({"stop": [""]}, "a stop string is empty"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        scripted(b"x").chat(HELLO, **options)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "there are no messages"),
        ([{"role": "tool", "content": "x"}], "role is 'tool'"),
        ([{"role": "user"}], "messages.0.content is no text"),
        ([*HELLO, {"role": "user", "content": "\ud800"}], "messages.1.content holds half"),
    ],
)
def test_messages_of_the_wrong_form_are_refused(messages, message):
    with pytest.raises(BadInput, match=message):
        scripted(b"x").chat(messages)


def test_a_file_without_a_template_is_refused():
    with pytest.raises(Unsupported, match="carries no chat template"):
        scripted(b"x", template=None)


def test_a_template_that_renders_nothing_is_refused():
    with pytest.raises(BadInput, match="empty prompt"):
        scripted(b"x", template="{# nothing #}").chat(HELLO)


def test_a_closed_engine_says_so():
    gate = threading.Semaphore(1)
    engine = scripted(b"abc", gate=gate)
    reply, late = engine.chat(HELLO), engine.chat(HELLO)
    assert next(reply).text == "a"
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(RuntimeError, match="closed"):
        while True:  # until the other thread has got that far
            engine.chat(HELLO)
    gate.release(10)
    closing.join()
    engine.close()
    assert engine.backend.closed
    for unfinished in (reply, late):
        with pytest.raises(RuntimeError, match="closed"):
            list(unfinished)


def test_the_context_is_at_most_what_the_model_was_trained_for(tiny_gguf):
    with load(tiny_gguf, context=10**6) as wide, load(tiny_gguf, context=64) as narrow:
        assert (wide.context, narrow.context) == (1024, 64)


def test_threads_default_to_physical_cores(tmp_path):
    for cpu in range(64):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text("0\n")
        (folder / "core_id").write_text("0\n")
    assert physical_cores(tmp_path) == 1
    assert physical_cores(tmp_path / "nothing here") >= 1
