"""No training set shares a dialogue with the test set."""

import json

import pytest

from distill.compose import compose_folder, write
from distill.core.errors import BadInput, CheckFailed
from distill.core.jsonl import read_jsonl, write_jsonl
from distill.core.records import Dialogue
from distill.corpora.reading import Request
from distill.gather import gather
from distill.gather import write as write_gathered
from distill.sets.leaks import refuse_leak, refuse_shared_dialogues
from tests.distill.command_line import refusal


@pytest.fixture
def data(tmp_path):
    write_gathered(gather(["starter"], Request(parts="c")), tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def sets(data, tmp_path):
    write(compose_folder(data, "improved"), tmp_path / "sets")
    return tmp_path / "sets"


def test_compose_refuses_a_training_dialogue_that_is_also_in_the_test_split(data, tmp_path):
    file = data / "dialogues.jsonl"
    dialogues = read_jsonl(file, Dialogue)
    test = next(d for d in dialogues if d.split == "test")
    train = next(d for d in dialogues if d.split == "train")
    turns = [t.model_copy(update={"content": f" {t.content.upper()}"}) for t in test.turns]
    leaked = [d.model_copy(update={"turns": turns}) if d is train else d for d in dialogues]
    write_jsonl(file, leaked)
    error = refusal("compose", data, "--rule", "improved", "--out", tmp_path / "sets", exit_code=1)
    assert error == (
        f"error: dialogue {train.id} of the train split is dialogue {test.id} of the test split; "
        "a student must not train on what it is tested on; gather and compose the data again"
    )
    assert not (tmp_path / "sets").exists()


def test_gathered_starter_data_leaks_nothing():
    refuse_leak([item.dialogue for item in gather(["starter", "curriculum"]).items])


@pytest.mark.parametrize("name", ["sft", "sft_valid", "preferences", "preferences_valid"])
def test_train_refuses_sets_that_hold_a_dialogue_of_the_test_set(sets, name):
    refuse_shared_dialogues(sets)
    test = read_jsonl(sets / "test.jsonl", Dialogue)[2]
    reply = [{"role": "assistant", "content": "I see."}]
    system = [{"role": "system", "content": "You are kind."}]
    row = {"messages": [*system, *test.messages(), *reply]}
    if name.startswith("preferences"):
        row = {"prompt": [*system, *test.messages()], "chosen": reply, "rejected": reply}
    with (sets / f"{name}.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    rows = len((sets / f"{name}.jsonl").read_text().splitlines())
    with pytest.raises(CheckFailed) as caught:
        refuse_shared_dialogues(sets)
    assert (
        f"{name}.jsonl, row {rows} holds dialogue {test.id} of test.jsonl; a student must not"
        in (str(caught.value))
    )


def test_sets_without_a_test_set_share_nothing(sets):
    (sets / "test.jsonl").unlink()
    refuse_shared_dialogues(sets)


def test_a_broken_row_of_a_set_is_named(sets):
    with (sets / "sft.jsonl").open("a") as file:
        file.write('{"messages": []}\n')
    with pytest.raises(BadInput, match=r"sft.jsonl:\d+: messages: "):
        refuse_shared_dialogues(sets)
