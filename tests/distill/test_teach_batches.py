"""Teaching by batch: submit, leave, come back; through the real clients, against stand-ins."""

import pytest

from distill.core.jsonl import read_jsonl
from distill.core.records import Refusal, Response
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from tests.distill.teaching_line import (
    data_folder,
    dialogue,
    human,
    outcome,
    process,
    refusal,
    responses_in,
    run,
)


@pytest.fixture
def data(tmp_path):
    dialogues = [dialogue(number) for number in range(40)]
    return data_folder(tmp_path / "data", dialogues, [human(number, 1) for number in range(40)])


def submitting(data, server, *verb):
    base = data.parent
    return (
        *(*verb, data, "--teacher", "openai:gpt-x", "--base-url", server.base_url, "--batch"),
        *("--out", base / "taught", "--ledger", base / "ledger.sqlite"),
    )


def ledger_of(data):
    return ("--ledger", data.parent / "ledger.sqlite")


def come_back(data):
    """Look until every batch has ended, and collect."""
    for _ in range(10):
        states = {one["state"] for one in outcome("teach", "status", *ledger_of(data))["batches"]}
        if "waiting" not in states:
            return outcome("teach", "collect", *ledger_of(data))
    raise AssertionError(states)


def test_a_batch_is_submitted_once_collected_and_joined_in_any_order(data):
    with FakeOpenAI(Faults(reorder=True, seed=3)) as server:
        words = submitting(data, server, "teach", "responses")
        assert outcome(*words)["calls"] == 40
        again = outcome(*words)
        assert (again["calls"], again["on_their_way"]) == (0, 40)
        assert not (data.parent / "taught").exists()
        (collected,) = come_back(data)["collected"]
        assert (collected["answered"], collected["missing"]) == (40, [])
        found = outcome(*words)
        assert (found["calls"], found["outcomes"]["answered"]) == (0, 40)
        live = [word for word in words if word != "--batch"]
        assert outcome(*live, "--out", data.parent / "live")["calls"] == 0
        asked = server.counts()
    assert asked["rows_done"] == asked["distinct"] == 40
    responses = [one for one in responses_in(data.parent / "taught") if one.author == "gpt-x"]
    assert [one.dialogue_id for one in responses] == [f"d{number}" for number in range(40)]


def test_what_failed_or_went_missing_is_listed_and_submitted_again(data):
    with FakeOpenAI(Faults(reorder=True, drop=0.1, errors=0.1, seed=1)) as server:
        words = submitting(data, server, "teach", "responses")
        outcome(*words)
        (first,) = come_back(data)["collected"]
        lost = len(first["missing"]) + len(first["failed"])
        assert lost
        assert first["answered"] + lost == 40
        assert set(first["missing"]) < {f"d{number}/gpt-x/direct" for number in range(40)}
        assert outcome(*words)["calls"] == lost
        for _ in range(8):
            come_back(data)
            if "outcomes" in (found := outcome(*words)):
                break
        assert found["outcomes"]["answered"] == 40
    assert len(responses_in(data.parent / "taught")) == 80


def test_a_strategy_of_three_steps_takes_three_batches(data):
    with FakeOpenAI() as server:
        words = submitting(data, server, "improve", "--strategy", "sequential", "--over", "human")
        for _ in range(3):
            assert outcome(*words)["calls"] == 40
            come_back(data)
        found = outcome(*words)
    assert found["outcomes"]["answered"] == 40
    improved = [one for one in responses_in(data.parent / "taught") if one.improves]
    assert len(improved) == 40


def test_a_blocked_row_is_an_outcome_and_not_submitted_again(data):
    with FakeOpenAI(Faults(block=0.2)) as server:
        words = submitting(data, server, "teach", "responses")
        outcome(*words)
        come_back(data)
        found = outcome(*words)
    blocked = found["outcomes"]["blocked"]
    assert 0 < blocked < 40
    assert found["outcomes"]["answered"] == 40 - blocked
    assert len(read_jsonl(data.parent / "taught/unanswered.jsonl", Refusal)) == blocked
    assert len(read_jsonl(data.parent / "taught/responses.jsonl", Response)) == 80 - blocked


def test_a_teacher_without_batches_and_a_ledger_that_is_not_there_are_refused(data):
    words = ("teach", "responses", data, "--teacher", "scripted:echo", "--batch")
    told = refusal(*words, "--out", data.parent / "taught", *ledger_of(data))
    assert "scripted has no batches" in told
    absent = ("--ledger", data.parent / "none.sqlite")
    assert "none.sqlite does not exist" in refusal("teach", "status", *absent)
    assert not (data.parent / "none.sqlite").exists()


def test_batches_in_a_process(data):
    with FakeOpenAI() as server:
        words = submitting(data, server, "teach", "responses")
        told = process(*words)
        assert told.returncode == 0, told.stderr
        assert "40 calls submitted" in told.stdout
        assert "distill teach collect --ledger" in told.stdout
        (record,) = outcome("teach", "status", *ledger_of(data))["batches"]
        assert record["id"] in process("teach", "status", *ledger_of(data)).stdout
        come_back(data)
        assert "40 of 40 answered" in process(*words).stdout


def test_a_batch_whose_service_is_gone_is_named_and_nothing_is_lost(data):
    with FakeOpenAI() as server:
        outcome(*submitting(data, server, "teach", "responses"))
    done = run("teach", "collect", *ledger_of(data))
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
