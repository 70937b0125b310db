"""What `distill train` refuses: one line, exit 2, nothing written; through the real command."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from distill.core.errors import BadInput
from distill.recipe import bundled, recipe_text
from distill.train import train
from tests.models import tiny_checkpoint
from tests.training import OFFLINE, distill_train, recipe, write_recipe, write_sets


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("base"))


@pytest.fixture
def place(tmp_path):
    write_sets(tmp_path / "sets")
    write_recipe(tmp_path / "recipe.yaml")
    return tmp_path


def refused(place: Path, student: object, *more: object, **options: object) -> str:
    """The one line of a refusal, without `error: `; nothing may have been written."""
    before = {f for f in place.rglob("*") if f.is_file()}
    words = [place / "recipe.yaml", "--student", student, "--data", place / "sets"]
    done = distill_train(*words, "--out", place / "out", *more, **options)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert {f for f in place.rglob("*") if f.is_file()} == before
    line = done.stderr.removesuffix("\n")
    assert line.startswith("error: ") and "\n" not in line, done.stderr
    return line.removeprefix("error: ")


def test_an_unknown_key_of_a_recipe_is_named(place, base):
    (place / "recipe.yaml").write_text(yaml.safe_dump({**recipe(), "lerning_rate": 1}))
    line = refused(place, base)
    assert line.startswith(f"recipe {place / 'recipe.yaml'}: ") and "lerning_rate" in line


def test_a_recipe_that_is_not_there_lists_the_bundled_ones(place, base):
    (place / "recipe.yaml").unlink()
    listed = ", ".join(bundled())
    assert listed.startswith("base, base-listening, ")
    assert f"neither a file nor one of {listed}" in refused(place, base)


def test_a_student_for_a_recipe_from_scratch_is_refused(place, base):
    (place / "recipe.yaml").write_text(recipe_text("base"))
    assert refused(place, base).endswith("starts from scratch; leave --student out")


def test_a_broken_line_is_named_with_its_number(place, base):
    with (place / "sets/sft.jsonl").open("a") as lines:
        lines.write('{"messages": [\n')
    line = refused(place, base)
    assert line.startswith(f"{place / 'sets/sft.jsonl'}:25: not valid JSON")


def test_a_dialogue_that_ends_with_the_user_is_named(place, base):
    with (place / "sets/preferences.jsonl").open("a") as lines:
        lines.write('{"prompt": [], "chosen": [], "rejected": []}\n')
    assert refused(place, base).startswith(f"{place / 'sets/preferences.jsonl'}:25: prompt:")


@pytest.mark.parametrize("name", ["sft", "preferences"])
def test_an_empty_set_is_named_with_the_remedy(place, base, name):
    (place / f"sets/{name}.jsonl").write_text("\n")
    line = refused(place, base)
    assert line.startswith(f"{place}/sets/{name}.jsonl is empty; compose the sets again")


def test_a_set_that_is_not_there_is_named(place, base):
    (place / "sets/sft.jsonl").unlink()
    assert refused(place, base) == (
        f"{place}/sets/sft.jsonl does not exist; distill compose writes it"
    )


def test_an_unknown_student_folder_is_named(place):
    line = refused(place, place / "nowhere")
    assert line.startswith(f"there is no student {place}/nowhere: give the folder of a checkpoint")


def test_a_folder_that_is_no_checkpoint_is_named(place):
    line = refused(place, place / "sets")
    assert line == f"{place}/sets holds no config.json, so it is no student"


def test_a_hub_name_that_cannot_be_reached_is_named(place):
    line = refused(place, "nobody/nothing")
    assert line.startswith("nobody/nothing is no folder here, and the Hub did not give it (")
    assert line.endswith("or give a local folder")


def test_a_checkpoint_without_a_chat_template_is_named(place, base):
    shutil.copytree(base, place / "mute")
    (place / "mute/chat_template.jinja").unlink()
    line = refused(place, place / "mute")
    assert line.startswith(f"{place}/mute has no chat template, so it cannot be told")


def test_a_reply_without_a_stop_token_is_refused(place, base):
    shutil.copytree(base, place / "endless")
    template = (base / "chat_template.jinja").read_text()
    endless = template.replace("message['content'] + '<|end|>'", "message['content']", 1)
    (place / "endless/chat_template.jinja").write_text(endless)
    words = (str(place / "recipe.yaml"), place / "sets", place / "out")
    with pytest.raises(BadInput, match="holds no stop token, so the student would never learn"):
        train(*words, student=str(place / "endless"))
    assert not list(place.glob("out*"))


def test_sets_that_do_not_fit_are_refused(place, base):
    write_recipe(place / "recipe.yaml", max_length=16)
    words = (str(place / "recipe.yaml"), place / "sets", place / "out")
    with pytest.raises(BadInput, match="none of the preferences fits into max_length 16; raise"):
        train(*words, student=str(base))
    assert not list(place.glob("out*"))


def test_qlora_without_a_gpu_is_refused(place, base):
    write_recipe(place / "recipe.yaml", adapter={"kind": "qlora"})
    line = refused(place, base, env={**OFFLINE, "CUDA_VISIBLE_DEVICES": ""})
    assert line.startswith("adapter kind qlora needs a CUDA GPU and bitsandbytes, which are not")


@pytest.mark.parametrize("name", ["trl", "matplotlib"])
def test_a_missing_extra_is_named(place, base, name):
    blocker = place / "blocker"
    blocker.mkdir()
    (blocker / "sitecustomize.py").write_text(f"import sys\nsys.modules[{name!r}] = None\n")
    line = refused(place, base, env={**OFFLINE, "PYTHONPATH": str(blocker)})
    assert name in line and line.endswith("install it with: pip install 'kindred-slm[train]'")


def test_a_foreign_folder_is_never_written_into(place, base):
    (place / "out").mkdir()
    (place / "out/thesis.txt").write_text("mine")
    line = refused(place, base)
    assert line == f"{place}/out exists and is no trained student; choose another --out"


def test_an_unfinished_run_is_not_begun_again_without_resume(place, base):
    (place / "out.work").mkdir()
    (place / "out.work/run.json").write_text(json.dumps({"recipe_sha256": "another"}))
    line = refused(place, base)
    assert line.startswith(f"{place}/out.work was made from another recipe")


def test_an_error_with_json_is_one_object_too(place):
    words = [place / "recipe.yaml", "--student", "./nowhere", "--data", place / "sets"]
    done = distill_train(*words, "--out", place / "out", "--json")
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith("there is no student ./nowhere")


def test_the_folder_that_one_stands_in_is_refused_before_anything_is_read(place, monkeypatch):
    (place / "here").mkdir()
    monkeypatch.chdir(place / "here")
    with pytest.raises(BadInput, match="is the folder that you are in"):
        train(str(place / "recipe.yaml"), place / "no-sets", Path())
