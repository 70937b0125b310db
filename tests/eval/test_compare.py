"""`distill eval compare` through the command line, with a judge on loopback."""

import json

import pytest

from eval.reason import reason
from tests.endpoint import StubEndpoint
from tests.eval.pairs import distill, error_line, prefers_dogs, write_answers, write_dialogues

DOG, NONE = "Your dog is gone.", "Oh no."
TEXTS = {"dogs": [DOG] * 30, "mixed": [DOG] * 15 + [NONE] * 15, "none": [NONE] * 30}


@pytest.fixture
def compared(tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl", 30)
    files = {name: write_answers(tmp_path / f"{name}.jsonl", name, t) for name, t in TEXTS.items()}

    def run(endpoint, *names, words=()):
        common = ["--dialogues", dialogues, "--out", tmp_path / "out", "--json"]
        judge = ["--judge", "openai:m", "--base-url", endpoint.url]
        return distill("eval", "compare", *(files[n] for n in names), *common, *judge, *words)

    return run


def test_candidates_are_told_apart_and_ranked_and_nothing_is_asked_twice(compared):
    with StubEndpoint(prefers_dogs) as endpoint:
        done = compared(endpoint, "mixed", "none", "dogs")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        asked = len(endpoint.requests)
        again = json.loads(compared(endpoint, "mixed", "none", "dogs").stdout)
        assert len(endpoint.requests) == asked and again["couples"] == found["couples"]
    told = {(one["first"], one["second"]): one["finding"] for one in found["couples"]}
    assert told == {
        ("mixed", "none"): "better",
        ("mixed", "dogs"): "worse",
        ("none", "dogs"): "worse",
    }
    assert found["couples"][0]["reason"].startswith("mixed is better than none: mixed wins 100 %")
    assert [one["candidate"] for one in found["strengths"]] == ["dogs", "mixed", "none"]
    both = {one["win_rate"] for one in found["couples"]}
    assert both == {0.0, 1.0}


def test_a_comparison_can_be_counted_first_and_needs_two(compared):
    with StubEndpoint(prefers_dogs) as endpoint:
        done = compared(endpoint, "dogs", "none", words=["--dry-run"])
        assert "one candidate cannot be compared" in error_line(compared(endpoint, "dogs"))
        assert not endpoint.requests
    [plan] = json.loads(done.stdout)["judges"].values()
    assert plan["calls"] == 60


RESULT = {
    "first": "student",
    "second": "base",
    "finding": "better",
    "win_rate": 0.8,
    "interval": [0.72, 0.86],
    "sign_test": 1e-9,
    "decided": 120,
    "pairs": 150,
    "detectable_win_rate": 0.628,
    "length_controlled": {"rate": 0.7, "low": 0.6, "high": 0.79},
    "ties": 20,
    "flips": 10,
}


def test_the_reason_is_the_interval_and_the_test():
    assert reason(RESULT) == (
        "student is better than base: student wins 80 % of 120 decided pairs (95 % interval "
        "72 % to 86 %, sign test p < 0.001)"
    )


def test_a_difference_that_may_be_one_of_length_is_doubted():
    told = reason(RESULT | {"length_controlled": {"rate": 0.55, "low": 0.46, "high": 0.64}})
    assert told.endswith("; at equal length that is not shown (55 %, 95 % interval 46 % to 64 %)")


def test_what_is_not_distinguishable_says_what_could_have_been_seen():
    even = {"finding": "not distinguishable", "win_rate": 0.53, "interval": [0.44, 0.61]}
    told = reason(RESULT | even | {"sign_test": 0.46})
    assert told.startswith("student and base are not distinguishable: student wins 53 % of 120")
    assert told.endswith("p = 0.460); so many show a win rate of 63 % or more, four times in five")


def test_nothing_decided_is_no_rate_but_a_count():
    none = {"finding": "not distinguishable", "decided": 0, "pairs": 30, "interval": None}
    assert reason(RESULT | none) == (
        "student and base are not distinguishable: none of 30 pairs was decided (ties 20, flips 10)"
    )
    bare = RESULT | none | {"ties": 0, "flips": 0, "pairs": 0}
    assert reason(bare).endswith("none of 0 pairs was decided (there were none)")
