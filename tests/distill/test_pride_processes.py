"""Two processes under `accelerate launch` reach the loss of one."""

import json

import pytest

from tests.distill.pride_sets import write_known, write_pride_recipe
from tests.models import tiny_checkpoint
from tests.training import distill_train, distill_train_by_two


def test_two_processes_reach_the_loss_of_one(tmp_path):
    """What a step holds, what is told and what counts do not depend on who computes it."""
    base, teacher = (tiny_checkpoint(tmp_path / n, seed=s) for s, n in enumerate("ab"))
    sets, data = write_known(tmp_path, count=14, held_out=6)
    recipe = write_pride_recipe(
        tmp_path / "recipe.yaml",
        teacher={"model": str(teacher), "prompt": "notes"},
        distill={"batch_size": 2, "accumulation": 2, "learning_rate": 1e-3},
        leakage={"sample": 2, "every_step": True},
    )
    words = [str(recipe), "--student", str(base), "--data", str(sets), "--json"]
    words += ["--privileged", str(data)]
    one = distill_train(*words, "--out", tmp_path / "one")
    assert one.returncode == 0, one.stderr
    two = distill_train_by_two(*words, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    found, wanted = (json.loads(each.stdout)["stages"]["pride"] for each in (two, one))
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-4)
