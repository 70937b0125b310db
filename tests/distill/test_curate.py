"""distill curate: a folder without what was refused, and the reasons."""

import json

import pytest

from distill.core.jsonl import read_jsonl
from distill.core.records import Refusal, Response
from distill.curate import curate, write
from distill.curating.case import Settings
from distill.curating.material import Material
from distill.curating.table import RULES
from tests.distill.command_line import distill, outcome, refusal
from tests.distill.curating import data_folder, response

GOOD = [
    "That must hurt, tell me more about it.",
    "What a day you had, I am glad that you told me.",
    "I can hear how much that means to you.",
]


@pytest.fixture
def data(tmp_path):
    """Three good responses and one for each rule to refuse; what people said is worse."""
    responses = [
        *(response(f"d{n}/gpt", text) for n, text in enumerate(GOOD)),
        response("d0/human", "As an AI " * 60, author="human", prompt=None),
        response("d1/long", "well " * 98),
        response("d2/ai", "As an AI, I cannot feel."),
        response("d3/loop", "You are not alone here. You are not alone here."),
        response("d4/leak", "So the walrus was to blame."),
        response("d5/changed", "Congratulations!", improves="d0/gpt", strategy="naive"),
        response("d6/again", GOOD[0] + "!!"),
        response("d7/found", "Sorry, but I can't.", prompt=None),
    ]
    fields = {"d4": {"cause": "a walrus", "emotion": "sad"}}
    return data_folder(tmp_path / "data", responses, fields)


def by_rule(folder):
    return {one.response_id: one.rule for one in read_jsonl(folder / "refusals.jsonl", Refusal)}


def test_every_refusal_has_its_rule_and_texts_are_never_cut(data, tmp_path):
    out, again = tmp_path / "out", tmp_path / "again.jsonl"
    before = {r.id: r for r in read_jsonl(data / "responses.jsonl", Response)}
    found = outcome("curate", data, "--out", out, "--ask-again", again)
    refused = by_rule(out)
    assert refused == {
        "d1/long": "length", "d2/ai": "refusal", "d3/loop": "loop", "d4/leak": "leak",
        "d5/changed": "meaning", "d6/again": "near-duplicate", "d7/found": "refusal",
    }  # fmt: skip
    kept = read_jsonl(out / "responses.jsonl", Response)
    assert [one.id for one in kept] == ["d0/gpt", "d1/gpt", "d2/gpt", "d0/human"]
    assert kept == [before[one.id] for one in kept]
    for name in ("dialogues.jsonl", "privileged.jsonl"):
        assert (out / name).read_bytes() == (data / name).read_bytes()
    teach, step = json.loads((out / "gather.json").read_text())["steps"]
    assert teach == {"verb": "teach"}
    assert step["refused"] == found["refused"] | {"mean-length": 0}
    assert (found["refused"]["refusal"], found["kept"], found["responses"]) == (2, 4, 11)
    asked = {one.response_id for one in read_jsonl(again, Refusal)}
    assert asked == set(refused) - {"d7/found"} and found["ask_again"] == 6


def test_the_mean_is_reported_and_met_by_refusing_the_longest(data, tmp_path):
    out = tmp_path / "out"
    shown = distill("curate", data, "--out", out, "--mean-words", "8.5")
    assert shown.returncode == 0, shown.stderr
    assert "the mean is 9.7 words, 8.5 were asked for: 1 of the longest are refused" in shown.stderr
    assert "near-duplicate" in shown.stdout and "mean 8.5 words" in shown.stdout
    assert by_rule(out)["d1/gpt"] == "mean-length"


def test_a_second_run_refuses_nothing_new_and_keeps_the_earlier_refusals(data, tmp_path):
    first, second = tmp_path / "one", tmp_path / "two"
    for source, out in ((data, first), (first, second), (first, first)):
        material = Material(source)
        write(material, curate(material, list(RULES), Settings(texts=material.texts)), out)
    for name in ("responses.jsonl", "refusals.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_rules_can_be_left_out(data, tmp_path):
    found = outcome("curate", data, "--out", tmp_path / "out", "--rules", "length,loop")
    assert found["refused"] == {"length": 1, "loop": 1}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rules", "taste"], "there is no rule named 'taste'; known are: length, refusal,"),
        (["--embeddings", "nothing-here"], "nothing-here is neither a folder with a config.json"),
    ],
    ids=["rule", "encoder"],
)
def test_what_a_person_can_mend_is_one_line_and_nothing_is_written(data, tmp_path, words, expected):
    error = refusal("curate", data, "--out", tmp_path / "out", *words)
    assert error.startswith(f"error: {expected}")
    assert not (tmp_path / "out").exists()


def test_data_that_is_broken_twice_or_astray_is_refused(data):
    lines = (data / "responses.jsonl").read_text().splitlines()
    for text, expected in (
        ("\n".join([*lines, '{"id"', "[]"]), "2 broken lines; mend or delete"),
        ("\n".join([*lines, lines[0]]), "responses.jsonl holds d0/gpt twice; gather"),
        (lines[0].replace("d0", "d9"), "responses.jsonl: d9/gpt belongs to d9, which is not in"),
    ):
        (data / "responses.jsonl").write_text(text)
        with pytest.raises(ValueError, match=expected):
            Material(data)


def test_when_nothing_would_be_left_nothing_is_written(tmp_path):
    data = data_folder(tmp_path / "data", [response("d/gpt", "As an AI, no.")])
    error = refusal("curate", data, "--out", tmp_path / "out")
    assert "is refused; nothing was written" in error and not (tmp_path / "out").exists()
