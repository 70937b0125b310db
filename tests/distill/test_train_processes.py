"""Two processes under `accelerate launch` reach the loss of one."""

import json
import subprocess
import sys

import pytest

from tests.models import tiny_checkpoint
from tests.training import OFFLINE, distill_train, write_recipe, write_sets


def test_two_processes_reach_the_loss_of_one(tmp_path):
    base = tiny_checkpoint(tmp_path / "base")
    write_sets(tmp_path / "sets", count=18, held_out=8)
    recipe = write_recipe(tmp_path / "recipe.yaml")
    words = [str(recipe), "--student", str(base), "--data", str(tmp_path / "sets"), "--json"]
    one = distill_train(*words, "--out", tmp_path / "one")
    assert one.returncode == 0, one.stderr
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu"]
    pair = ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    quiet = ["--dynamo_backend", "no", "--main_process_port", "0", "-m", "distill", "train"]
    two = subprocess.run(
        [*launcher, *pair, *quiet, *words, "--out", str(tmp_path / "two")],
        capture_output=True,
        text=True,
        env={**OFFLINE, "OMP_NUM_THREADS": "1"},
    )
    assert two.returncode == 0, two.stderr
    found, wanted = (json.loads(each.stdout)["stages"] for each in (two, one))
    for stage, figures in wanted.items():
        assert found[stage] == pytest.approx(figures, rel=1e-3), stage
