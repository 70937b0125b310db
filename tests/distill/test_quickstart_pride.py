"""The walk by `--method pride`, from where the dialogues are gathered and the sets composed."""

import pytest

from distill.quickstart import Method, steps
from tests.distill.pride_sets import write_known, write_pride_recipe
from tests.distill.teaching_line import outcome
from tests.models import tiny_checkpoint
from tests.training import dialogue, write_lines


@pytest.fixture
def place(tmp_path):
    """A base, a recipe with a teacher of its own, and an `out` with data and sets."""
    tiny_checkpoint(tmp_path / "base")
    write_pride_recipe(tmp_path / "recipe.yaml")
    out = tmp_path / "out"
    out.mkdir()
    sets, _ = write_known(out)
    held_out = [{"id": f"t{n}", "source": "tests", "turns": dialogue(n)} for n in range(6)]
    write_lines(sets / "test.jsonl", [{**each, "split": "test"} for each in held_out])
    return tmp_path


def test_the_walk_by_pride_trains_and_exports_what_the_other_walk_goes_on_with(place):
    """Its own steps, by the words that the walk types; what follows reads the file alone."""
    out, base, recipe = place / "out", str(place / "base"), str(place / "recipe.yaml")
    todo = {step.name: step for step in steps(out, base, recipe, Method.pride)}
    found = outcome(*todo["train"].words)
    assert found["teacher"]["name"] == "self" and found["privileged_sha256"]
    assert {"cross_entropy", "divergence", "mmd"} <= found["stages"]["pride"].keys()
    assert outcome(*todo["export student"].words)["gate"]
    for name in ("train", "export student"):
        assert all(file.stat().st_size > 0 for file in todo[name].outputs)
    assert str(*todo["export student"].outputs) in todo["answer student"].words
