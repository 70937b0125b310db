"""`distill train` two-step: what it writes, and that a killed run ends where it would have."""

import json
import subprocess
from pathlib import Path

import pytest

from distill.train import train
from tests.models import tiny_checkpoint
from tests.training import OFFLINE, command_line, distill_train, write_recipe, write_sets

WRITTEN = {
    "README.md",
    "chat_template.jinja",
    "config.json",
    "curves.png",
    "generation_config.json",
    "kindred.json",
    "model.safetensors",
    "recipe.yaml",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, sets and a recipe."""
    folder = tmp_path_factory.mktemp("train")
    tiny_checkpoint(folder / "base")
    write_sets(folder / "sets")
    write_recipe(folder / "recipe.yaml")
    return folder


def words(place: Path, out: str) -> list[object]:
    options = ["--student", place / "base", "--data", place / "sets", "--out", place / out]
    return [place / "recipe.yaml", *options]


@pytest.fixture(scope="module")
def straight(place):
    """One run without a stop, through the command line."""
    done = distill_train(*words(place, "straight"), "--json")
    assert done.returncode == 0, done.stderr
    return done


def weights(folder: Path):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_the_outcome_is_one_json_object(straight, place):
    outcome = json.loads(straight.stdout)
    assert outcome["student"] == str(place / "straight")
    assert outcome["stages"]["sft"]["steps"] == 6
    assert outcome["stages"]["dpo"]["steps"] == 6


def test_the_student_is_a_plain_folder_with_its_papers(straight, place):
    out = place / "straight"
    assert {f.name for f in out.iterdir()} == WRITTEN
    assert (out / "recipe.yaml").read_text() == (place / "recipe.yaml").read_text()
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "chat_template.jinja").read_bytes() == (
        place / "base/chat_template.jinja"
    ).read_bytes()
    provenance = json.loads((out / "kindred.json").read_text())
    assert set(provenance["data_sha256"]) == {f.name for f in (place / "sets").iterdir()}
    assert provenance["tools"]["trl"]
    assert "base_sha256" in provenance and "recipe_sha256" in provenance


def test_both_steps_learn_what_they_are_for(straight):
    stages = json.loads(straight.stdout)["stages"]
    assert stages["sft"]["loss"] < stages["sft"]["mean_loss"]
    assert stages["dpo"]["loss"] < 0.69
    assert stages["dpo"]["validation_accuracy"] == 1.0


def test_optimizer_states_are_gone_once_the_student_stands(straight, place):
    assert not list((place / "straight.work").glob("*/checkpoint-*"))


def kill_at(place: Path, out: str, line: str) -> list[str]:
    """Start or resume a run, kill -9 it once it has said this line; what it said until then."""
    process = subprocess.Popen(
        command_line(*words(place, out), "--resume"), stderr=subprocess.PIPE, text=True, env=OFFLINE
    )
    said = []
    with process:
        for remark in process.stderr:
            said.append(remark)
            if remark.startswith(line):
                process.kill()
                break
    assert said and said[-1].startswith(line), said
    return said


def test_a_run_killed_in_each_stage_and_between_them_ends_where_it_would_have(straight, place):
    kill_at(place, "stopped", "sft step 4 of 6")
    second = kill_at(place, "stopped", "sft: 6 steps")
    assert not any(line.startswith("sft step 2") for line in second), "it began again"
    assert not (place / "stopped").exists()
    kill_at(place, "stopped", "dpo step 4 of 6")
    ended = train(
        str(place / "recipe.yaml"),
        place / "sets",
        place / "stopped",
        student=str(place / "base"),
        resume=True,
    )
    expected = json.loads(straight.stdout)["stages"]
    for stage, figures in expected.items():
        assert ended["stages"][stage] == pytest.approx(figures, rel=1e-4), stage
    found, wanted = weights(place / "stopped"), weights(place / "straight")
    assert all(found[name].allclose(wanted[name], atol=1e-4) for name in wanted)


def test_resume_of_a_finished_run_changes_nothing(straight, place):
    before = {f: f.stat().st_mtime_ns for f in (place / "straight").iterdir()}
    again = distill_train(*words(place, "straight"), "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert "finished already" in again.stderr
    assert json.loads(again.stdout)["stages"] == json.loads(straight.stdout)["stages"]
    assert {f: f.stat().st_mtime_ns for f in (place / "straight").iterdir()} == before


def test_an_output_of_another_recipe_is_refused(straight, place):
    other = write_recipe(place / "other.yaml", seed=5)
    for more in ([], ["--resume"]):
        done = distill_train(other, *words(place, "straight")[1:], *more)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "was made from another recipe; choose another --out" in done.stderr


def test_a_finished_output_is_not_trained_again_without_resume(straight, place):
    done = distill_train(*words(place, "straight"))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "is already trained by this recipe; keep it with --resume" in done.stderr


def test_a_full_disk_is_one_line_and_leaves_no_output(place):
    out = place / "full"
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (10**6,) * 2);"
    code = f"{limit} runpy.run_module('distill', run_name='__main__')"
    argv = [command_line()[0], "-c", code, "train", *map(str, words(place, "full"))]
    done = subprocess.run(argv, capture_output=True, text=True, env=OFFLINE)
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"error: no space is left for {out}; free some, then continue with the same command and "
        "--resume"
    )
    assert "Traceback" not in done.stderr
    assert not out.exists() and not list(place.glob(".full*"))
