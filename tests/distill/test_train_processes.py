"""Two processes under `accelerate launch` reach the loss of one."""

import json

import pytest

from tests.models import tiny_checkpoint
from tests.training import distill_train, distill_train_by_two, write_recipe, write_sets


def test_two_processes_reach_the_loss_of_one(tmp_path):
    base = tiny_checkpoint(tmp_path / "base")
    write_sets(tmp_path / "sets", count=18, held_out=8)
    recipe = write_recipe(tmp_path / "recipe.yaml")
    words = [str(recipe), "--student", str(base), "--data", str(tmp_path / "sets"), "--json"]
    one = distill_train(*words, "--out", tmp_path / "one")
    assert one.returncode == 0, one.stderr
    two = distill_train_by_two(*words, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    found, wanted = (json.loads(each.stdout)["stages"] for each in (two, one))
    for stage, figures in wanted.items():
        assert found[stage] == pytest.approx(figures, rel=1e-3), stage
