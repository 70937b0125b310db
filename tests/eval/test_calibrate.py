"""`distill eval calibrate`, and the scorer that one fitted as a judge."""

import json

import pytest

from tests.endpoint import StubEndpoint
from tests.eval.pairs import (
    always_first,
    distill,
    error_line,
    part,
    verdict,
    write_answers,
    write_dialogues,
    write_lines,
)

BAD, GOOD = "whatever. not my problem lol", "I can hear how much it means to you. What happened?"


@pytest.fixture
def rated(tmp_path):
    """60 dialogues with a good reply, rated 3, and a bad one, rated 1 or 2."""
    dialogues, responses = [], []
    for n in range(60):
        turn = {"role": "user", "content": f"My dog number {n} ran away."}
        dialogues.append({"id": f"d{n}", "source": "test", "turns": [turn], "split": "train"})
        for author, text, rating in (("a", BAD, 1 + n % 2), ("b", GOOD, 3)):
            common = {"id": f"d{n}/{author}", "dialogue_id": f"d{n}", "author": author}
            responses.append(common | {"text": f"{text} ({n})", "rating": rating})
    folder = tmp_path / "rated"
    write_lines(folder / "dialogues.jsonl", dialogues)
    write_lines(folder / "responses.jsonl", responses)
    write_lines(folder / "privileged.jsonl", [])
    return folder


def prefers_hearing(prompt):
    return verdict(prompt, "first" if "I can hear" in part(prompt, "first") else "second")


def test_a_judge_is_measured_and_its_rates_say_so(rated, tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    a = write_answers(tmp_path / "a.jsonl", "a", [GOOD] * 4)
    b = write_answers(tmp_path / "b.jsonl", "b", [BAD] * 4)
    with StubEndpoint(prefers_hearing) as endpoint:
        judge = ["--judge", "openai:m", "--base-url", endpoint.url, "--json"]
        done = distill("eval", "calibrate", rated, "--out", tmp_path / "fit", *judge)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)["judges"]["openai:m"]
        assert (found["agreement"], found["kappa"], found["decided_by_both"]) == (1.0, 1.0, 60)
        words = [a, b, "--dialogues", dialogues, "--out", tmp_path / "out", *judge]
        calibration = ["--calibration", tmp_path / "fit/calibration.json"]
        told = json.loads(distill("eval", "winrate", *words, *calibration).stdout)
        assert told["agreement_note"].startswith("agrees with human raters on 100% [94%, 100%]")
        other = ["--rubric", "safety"]
        line = error_line(distill("eval", "winrate", *words, *calibration, *other))
    assert "says nothing of openai:m by the rubric safety" in line


def test_a_judge_that_always_says_first_agrees_with_nobody(rated, tmp_path):
    with StubEndpoint(always_first) as endpoint:
        judge = ["--judge", "openai:m", "--base-url", endpoint.url, "--limit", 5, "--json"]
        done = distill("eval", "calibrate", rated, "--out", tmp_path / "fit", *judge)
    found = json.loads(done.stdout)["judges"]["openai:m"]
    assert found["agreement"] is None and found["flips"] == 5
    assert found["agreement_note"] == "decided none of the pairs that people decided"


def test_a_fitted_scorer_judges(rated, tmp_path):
    scorer = tmp_path / "scorer"
    done = distill("eval", "scoring", "fit", rated, "--out", scorer, "--seeds", 2)
    assert done.returncode == 0, done.stderr
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    a = write_answers(tmp_path / "a.jsonl", "a", [GOOD] * 4)
    b = write_answers(tmp_path / "b.jsonl", "b", [BAD] * 4)
    words = [a, b, "--dialogues", dialogues, "--out", tmp_path / "out", "--json"]
    found = json.loads(distill("eval", "winrate", *words, "--judge", f"offline:{scorer}").stdout)
    assert found["wins"] == 4 and found["agreement_note"].startswith("a fitted scorer; agrees")


def test_ratings_without_a_decided_pair_are_refused(rated, tmp_path):
    lines = [json.loads(line) for line in (rated / "responses.jsonl").read_text().splitlines()]
    alone = [line | {"id": f"x{n}", "dialogue_id": f"d{n // 2}"} for n, line in enumerate(lines)]
    same = [line | {"rating": 1 + n // 2 % 3} for n, line in enumerate(alone)]
    write_lines(rated / "responses.jsonl", same)
    line = error_line(distill("eval", "calibrate", rated, "--out", tmp_path / "fit"))
    assert "no two replies to one dialogue are rated differently" in line
