"""The whole walk through the real command line, on a tiny base of its own."""

import json
import subprocess
import sys

import pytest

from distill.quickstart import SUGGESTED_BASE, Method, starter_base, steps
from tests.models import tiny_checkpoint


def quickstart(*words):
    argv = [sys.executable, "-m", "distill", "quickstart", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=900)


def walk_again(folder, base, *words):
    recipe = folder / "recipe.yaml"
    return quickstart("--base", base, "--recipe", recipe, "--out", folder / "out", *words)


RECIPE = """
method: two-step
student: given on the command line
adapter: {kind: lora, rank: 4}
max_length: 768
sft: {batch_size: 8, learning_rate: 1.0e-3, at_most: 32}
dpo: {batch_size: 4, learning_rate: 1.0e-4, at_most: 16}
"""


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """One walk from a tiny checkpoint; the tests look at what it left."""
    folder = tmp_path_factory.mktemp("walk")
    base = tiny_checkpoint(folder / "tiny")
    (folder / "recipe.yaml").write_text(RECIPE)
    done = walk_again(folder, base, "--json")
    assert done.returncode == 0, done.stderr
    return folder, base, json.loads(done.stdout)


def test_the_walk_leaves_a_student_a_file_and_a_report(walked):
    folder, _, outcome = walked
    for path in ("student/model.safetensors", "edge/student-Q4_K_M.gguf", "report/report.html"):
        assert (folder / "out" / path).stat().st_size > 0
    report = json.loads((folder / "out/report/report.json").read_text())
    assert outcome["export student"]["gate"]
    assert report


def test_the_walk_is_not_walked_twice(walked):
    folder, base, _ = walked
    file = folder / "out/edge/student-Q4_K_M.gguf"
    written = file.stat().st_mtime_ns
    done = walk_again(folder, base)
    assert done.returncode == 0
    assert done.stderr.count("# done before:") == len(steps(folder / "out", str(base)))
    assert file.stat().st_mtime_ns == written
    assert "distill runtime chat" in done.stdout and SUGGESTED_BASE in done.stdout


def test_a_walk_that_lost_a_file_continues_from_there(walked):
    folder, base, _ = walked
    (folder / "out/latency.json").unlink()
    done = walk_again(folder, base)
    assert done.returncode == 0
    assert done.stderr.count("# done before:") == len(steps(folder / "out", str(base))) - 2


def test_a_step_that_fails_is_one_line_with_the_reason(tmp_path):
    done = quickstart("--base", tmp_path / "nothing", "--out", tmp_path / "out")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "nothing" in lines[0]


def test_offline_the_walk_starts_from_the_bundled_base(tmp_path):
    words = [word for step in steps(tmp_path, None) for word in step.words]
    assert words.count(starter_base()) == 2
    assert "curriculum" in words


def test_by_pride_the_walk_trains_on_the_fields_that_it_gathered(tmp_path):
    plain, pride = (steps(tmp_path, None, None, method) for method in Method)
    assert [step.name for step in plain] == [step.name for step in pride]
    (train,) = [step.words for step in pride if step.name == "train"]
    assert train[:2] == ("train", "pride")
    assert train[train.index("--privileged") + 1] == str(tmp_path / "data")
    assert all("--privileged" not in step.words for step in plain)
