"""`distill annotate`: only what is lacking, read strictly, merged with what is there."""

import json

import pytest

from distill.core.jsonl import read_jsonl
from distill.core.records import Privileged
from tests.distill.teaching_line import data_folder, dialogue, outcome, process, prompts_of, refusal
from tests.endpoint import StubEndpoint

KEYS = ("feeling", "cause", "need", "next")


def script(text):
    """Answer what the last line of the task names."""
    keys = json.loads(next(line for line in text.splitlines() if line.startswith("{")))
    return json.dumps({key: f"about the {key}" for key in keys})


@pytest.fixture
def data(tmp_path):
    dialogues = [*map(dialogue, range(3)), dialogue(3, "test")]
    fields = {"d0": dict.fromkeys(KEYS, "known"), "d1": {"need": "known", "emotion": "sad"}}
    return data_folder(tmp_path / "data", dialogues, fields=fields)


def annotate(data, endpoint, *words):
    base = data.parent
    return (
        *("annotate", data, "--teacher", "openai:gpt-x", "--base-url", endpoint.url),
        *("--out", base / "noted", "--ledger", base / "ledger.sqlite", *words),
    )


def fields_in(folder):
    rows = read_jsonl(folder / "privileged.jsonl", Privileged)
    return {row.dialogue_id: row.fields for row in rows}


def test_only_lacking_fields_are_asked_for_and_known_ones_stay(data):
    with StubEndpoint(script) as endpoint:
        assert outcome(*annotate(data, endpoint))["calls"] == 2
        texts = "".join(prompts_of(endpoint.requests))
        assert outcome(*annotate(data, endpoint))["calls"] == 0
    assert '{"feeling": "your answer", "cause": "your answer", "next": "your answer"}' in texts
    found = fields_in(data.parent / "noted")
    assert found["d0"] == dict.fromkeys(KEYS, "known")
    assert found["d1"] == {
        "feeling": "about the feeling",
        "cause": "about the cause",
        "next": "about the next",
        "need": "known",
        "emotion": "sad",
    }
    assert set(found["d2"]) == set(KEYS)
    assert "d3" not in found


def test_annotating_in_a_process(data):
    with StubEndpoint(script) as endpoint:
        done = process(*annotate(data, endpoint))
    assert done.returncode == 0, done.stderr
    assert "2 of 2 answered" in done.stdout


def test_an_answer_that_is_no_such_object_adds_nothing_and_is_listed(data):
    with StubEndpoint(lambda text: '{"feeling": "sad"}') as endpoint:
        found = outcome(*annotate(data, endpoint))
        assert found["outcomes"]["unreadable"] == 2
        listed = data.parent / "noted/unanswered.jsonl"
        assert outcome(*annotate(data, endpoint, "--again", listed))["calls"] == 2
    assert fields_in(data.parent / "noted").keys() == {"d0", "d1"}
    assert [one["response_id"] for one in found["unanswered"]] == ["d1/annotation", "d2/annotation"]


def test_a_field_that_the_prompt_does_not_explain_is_refused(data):
    with StubEndpoint(script) as endpoint:
        assert "--fields mood: choose of" in refusal(*annotate(data, endpoint, "--fields", "mood"))
    assert endpoint.requests == []
