"""The ledger of finished calls."""

import multiprocessing
import threading
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest

from distill.core.chat import Sampling
from distill.core.errors import BadInput
from distill.core.ledger import BatchRecord, Ledger, call_key
from tests.distill.core.asks import reply

ASKED = [{"role": "user", "content": "hello"}]


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "runs" / "ledger.sqlite") as opened:
        yield opened


def store(ledger, key, stored, cost_usd=0.5, **options):
    ledger.store(
        key,
        stored,
        provider="openai",
        model="m",
        prompt_digest="d1",
        cost_usd=cost_usd,
        **options,
    )


def test_a_stored_reply_is_found_whole_by_another_connection(ledger):
    store(ledger, "k", reply("für dich 🌱"))
    with Ledger(ledger.path) as again:
        assert again.find("k") == reply("für dich 🌱")
        assert again.find("other") is None


@pytest.mark.parametrize(
    ("finish", "text", "outcome"),
    [
        ("content_filter", "", "blocked"),
        ("safety", "I", "blocked"),
        ("refusal", "", "blocked"),
        ("length", "I am", "cut"),
        ("stop", " \n", "empty"),
        ("stop", "I am here.", "answered"),
    ],
)
def test_an_outcome_that_is_no_answer_is_paid_and_kept_as_such(ledger, finish, text, outcome):
    store(ledger, "k", reply(text, finish))
    assert ledger.counts() == {outcome: 1}
    assert ledger.find("k").outcome == outcome
    assert (ledger.find("k", retry_outcomes=True) is None) == (outcome != "answered")
    assert ledger.spent_usd() == 0.5


def test_a_call_that_was_paid_again_keeps_its_answer_and_adds_its_cost(ledger):
    store(ledger, "k", reply("", "safety"))
    store(ledger, "k", reply("first"))
    store(ledger, "k", reply("second"), cost_usd=None)
    assert ledger.find("k").text == "first"
    assert ledger.spent_usd() == 1.0


def test_every_part_of_a_call_changes_its_key():
    keys = {
        call_key("openai", "m", ASKED, Sampling()),
        call_key("gemini", "m", ASKED, Sampling()),
        call_key("openai", "n", ASKED, Sampling()),
        call_key("openai", "m", [*ASKED, *ASKED], Sampling()),
        call_key("openai", "m", ASKED, Sampling(seed=1)),
        call_key("openai", "m", ASKED, Sampling(sample=1)),
        call_key("openai", "m", ASKED, Sampling(temperature=None)),
    }
    assert len(keys) == 7


def test_a_key_does_not_depend_on_the_order_in_a_message():
    turned = [{"content": "hello", "role": "user"}]
    assert call_key("p", "m", ASKED, Sampling()) == call_key("p", "m", turned, Sampling())


def test_money_is_set_aside_up_to_the_limit_and_given_back(ledger):
    store(ledger, "k", reply(), cost_usd=1.0)
    first = ledger.reserve(1.0, within_usd=2.5)
    assert first is not None and ledger.reserve(1.0, within_usd=2.5) is None
    ledger.release(first)
    second = ledger.reserve(1.0, within_usd=2.5)
    store(ledger, "l", reply(), cost_usd=0.1, reservation=second)
    assert (ledger.reserved_usd(), ledger.spent_usd()) == (0.0, 1.1)


def test_expected_tokens_come_from_replies_to_the_same_prompt(ledger):
    assert ledger.mean_tokens("openai", "m", "d1") is None
    store(ledger, "k", reply(tokens=10))
    store(ledger, "l", reply(tokens=20))
    assert ledger.mean_tokens("openai", "m", "d1") == 15
    assert ledger.mean_tokens("openai", "m", "d2") is None


def test_batches_are_kept_in_order_with_their_state(ledger):
    first = BatchRecord("b1", "openai", "m", "in_progress", 3, "runs/b1", submitted_at="2026-01-01")
    ledger.add_batch(first)
    ledger.add_batch(replace(first, id="b0", submitted_at=""))
    ledger.set_batch_state("b1", "completed", "2 missing")
    ledger.set_batch_state("b1", "collected")
    one, two = ledger.batches()
    assert one == replace(first, state="collected", note="2 missing")
    assert two.id == "b0" and two.submitted_at > "2026"


def test_a_file_that_is_no_ledger_is_refused_and_kept(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, which are long enough to be read as a header " * 9)
    with pytest.raises(BadInput, match="cannot be used as a ledger"):
        Ledger(path)
    assert path.read_text().startswith("my notes")


def store_many(path, start):
    with Ledger(path) as ledger:
        for number in range(start, start + 6):
            store(ledger, f"k{number}", reply())


def test_threads_and_processes_write_one_ledger(ledger):
    threads = [threading.Thread(target=store_many, args=(ledger.path, n)) for n in (0, 6)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        done = pool.map(store_many, [ledger.path] * 2, [3, 12])
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        list(done)
    assert ledger.counts() == {"answered": 18}
    assert ledger.spent_usd() == 12.0
