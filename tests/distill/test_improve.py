"""`distill improve`: which responses, by which steps, and what the records say of it."""

import pytest

from distill.core.jsonl import read_jsonl
from distill.core.records import Refusal
from distill.teaching.strategies import STRATEGIES
from tests.distill.teaching_line import (
    data_folder,
    dialogue,
    human,
    outcome,
    process,
    prompts_of,
    refusal,
    responses_in,
)
from tests.endpoint import StubEndpoint

WEAKEST = '{"because": "It hurries.", "weakest": "affective"}'


def script(text):
    """Find the weakest where that is asked; otherwise say how long the reply is that is shown."""
    if "lacks most" in text:
        return WEAKEST
    shown = text.rpartition("<reply>")[2].partition("</reply>")[0]
    return f"Better than {len(shown)} letters."


@pytest.fixture
def data(tmp_path):
    dialogues = [*map(dialogue, range(4)), dialogue(4, "test")]
    ratings = [1, 2, 3, None, 1]
    return data_folder(tmp_path / "data", dialogues, list(map(human, range(5), ratings)))


def improve(data, endpoint, over, *strategies):
    base = data.parent
    named = [word for name in strategies for word in ("--strategy", name)]
    return (
        *("improve", data, "--teacher", "openai:gpt-x", "--base-url", endpoint.url),
        *("--over", over, *named, "--out", base / "better", "--ledger", base / "ledger.sqlite"),
    )


def added(data):
    return [one for one in responses_in(data.parent / "better") if one.author != "human"]


def test_rated_responses_of_people_are_improved_and_name_their_original(data):
    with StubEndpoint(script) as endpoint:
        found = outcome(*improve(data, endpoint, "human", "naive"))
    assert found["calls"] == 3
    assert [(one.id, one.improves, one.strategy, one.prompt) for one in added(data)] == [
        (f"d{n}/human/gpt-x/naive", f"d{n}/human", "naive", "improve-naive") for n in range(3)
    ]
    assert all("<reply>\nOh, that is a pity" in text for text in prompts_of(endpoint.requests))


def test_improving_in_a_process(data):
    with StubEndpoint(script) as endpoint:
        done = process(*improve(data, endpoint, "llm", "lacking-dimension"))
    assert done.returncode == 0, done.stderr
    assert "8 of 8 answered, with 12 calls" in done.stdout


def test_only_the_wanted_ratings_are_improved(data):
    with StubEndpoint(script) as endpoint:
        words = ("--rating", 1, "--rating", 2)
        assert outcome(*improve(data, endpoint, "human", "cognitive"), *words)["calls"] == 2
        assert [one.improves for one in added(data)] == ["d0/human", "d1/human"]


def test_the_teachers_own_response_is_asked_first_and_improved_then(data):
    with StubEndpoint(script) as endpoint:
        found = outcome(*improve(data, endpoint, "llm", "compassionate"))
        assert found["calls"] == 8
        first, second = added(data)[:2]
        assert (first.id, first.strategy, first.improves) == ("d0/gpt-x/direct", "direct", None)
        assert (second.improves, second.strategy) == (first.id, "compassionate")
        assert prompts_of(endpoint.requests)[-1].count(first.text) <= 1
        # Another strategy finds the response there, and a third one in the ledger alone.
        base = data.parent
        more = improve(base / "better", endpoint, "llm", "affective")
        assert outcome(*more[:-3], base / "more", *more[-2:])["calls"] == 4
        assert outcome(*improve(data, endpoint, "llm", "naive"))["calls"] == 4


def test_every_strategy_in_one_run_asks_what_they_share_once(data):
    with StubEndpoint(script) as endpoint:
        found = outcome(*improve(data, endpoint, "human", *STRATEGIES))
    assert found["outcomes"]["answered"] == 3 * len(STRATEGIES)
    texts = prompts_of(endpoint.requests)
    assert len(texts) == len(set(texts))
    # Five strategies of one step; the weakest is affective, which is asked already; sequential
    # begins with the cognitive step, which is asked already too.
    assert len(texts) == 3 * (5 + 1 + 2)
    sequential = next(one for one in added(data) if one.strategy == "sequential")
    assert sequential.prompt == "improve-cognitive+improve-affective+improve-compassionate"
    assert len(sequential.prompt_digest.split("+")) == 3
    lacking = next(one for one in added(data) if one.strategy == "lacking-dimension")
    assert lacking.prompt == "weakest-dimension+improve-affective"


def test_a_refused_improvement_is_asked_again_with_another_seed(data, tmp_path):
    with StubEndpoint(script) as endpoint:
        outcome(*improve(data, endpoint, "human", "naive"))
        refused = tmp_path / "again.jsonl"
        one = Refusal(response_id="d1/human/gpt-x/naive", rule="length", reason="long")
        refused.write_text(one.model_dump_json())
        found = outcome(*improve(data, endpoint, "human", "naive"), "--again", refused)
        assert found["calls"] == 1
    assert endpoint.requests[-1]["seed"] == 1
    assert [one.id for one in added(data)][1] == "d1/human/gpt-x/naive~2"
    assert read_jsonl(data.parent / "better/unanswered.jsonl", Refusal) == []


def test_what_cannot_be_improved_is_refused_before_anything_is_asked(data, tmp_path):
    with StubEndpoint(script) as endpoint:
        assert "no strategy named kind" in refusal(*improve(data, endpoint, "human", "kind"))
        assert "--over cat" in refusal(*improve(data, endpoint, "cat", "naive"))
        unrated = data_folder(tmp_path / "unrated", [dialogue(1)], [human(1)])
        assert "no response of a person" in refusal(*improve(unrated, endpoint, "human", "naive"))
    assert endpoint.requests == []
