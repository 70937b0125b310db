"""`distill eval compare` through the command line, with a judge on loopback."""

import json

import pytest

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
