"""From `distill teach states` to `distill train pride --states`, as a person types it."""

import json

import pytest
from safetensors.torch import load_file

from tests.distill.pride_sets import write_known, write_pride_recipe
from tests.distill.teaching_line import outcome, process, refusal
from tests.models import tiny_checkpoint


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, sets with fields, and a teacher stored with and without its plain prompts."""
    folder = tmp_path_factory.mktemp("stored")
    for seed, name in enumerate(("base", "teacher")):
        tiny_checkpoint(folder / name, seed=seed)
    write_known(folder)
    teacher = {"model": str(folder / "teacher"), "prompt": "notes"}
    write_pride_recipe(folder / "recipe.yaml", teacher=teacher)
    words = ("teach", "states", folder / "sets", "--privileged", folder / "data")
    words += ("--teacher", folder / "teacher", "--prompt", "notes")
    outcome(*words, "--plain-too", "--out", folder / "store")
    outcome(*words, "--out", folder / "informed")
    return folder


def line(place, out, *more):
    words = ("train", "pride", place / "recipe.yaml", "--student", place / "base")
    words += ("--data", place / "sets", "--privileged", place / "data", "--out", place / out)
    return (*words, *more)


def test_a_stored_teacher_trains_as_the_live_one_does(place):
    wanted = outcome(*line(place, "live"))
    done = process(*line(place, "out", "--states", place / "store", "--json"))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    # States are stored in bf16.
    assert found["stages"]["pride"] == pytest.approx(wanted["stages"]["pride"], rel=2e-3, abs=2e-3)
    assert found["teacher"]["states_sha256"] and "states_sha256" not in wanted["teacher"]
    base, live, stored = (
        load_file(place / name / "model.safetensors") for name in ("base", "live", "out")
    )
    moved = sum(float((live[name] - base[name]).square().sum()) for name in base)
    apart = sum(float((live[name] - stored[name]).square().sum()) for name in base)
    assert apart < 0.01 * moved


def test_a_store_without_the_plain_prompts_is_refused_before_training(place):
    said = refusal(*line(place, "unasked", "--states", place / "informed"))
    assert "(--plain-too for the leakage gauge)" in said
    assert not (place / "unasked").exists() and not list(place.glob("unasked.work/pride"))


def test_a_store_of_other_fields_is_refused(place):
    (place / "other").mkdir()
    for name in ("dialogues.jsonl", "privileged.jsonl"):
        text = (place / "data" / name).read_text().replace('"sad"', '"glad"')
        (place / "other" / name).write_text(text)
    words = ("--states", place / "store", "--privileged", place / "other")
    assert "lacks dialogue d" in refusal(*line(place, "x", *words))
