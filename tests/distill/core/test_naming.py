"""An artifact is called by its name from wherever it is named, its own folder included."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from demo.files import chosen, names
from demo.story import open_source
from distill.core.errors import BadInput, CheckFailed, MissingInput
from distill.core.identity import told_digest
from distill.core.manifest import (
    BY_NAME,
    ArtifactManifest,
    check_files,
    describe,
    manifest_path,
    read_manifest,
    write_manifest,
)
from distill.core.naming import ONNX_MARK, artifact_name, exported_artifact, named, run_of
from distill.teaching.drafts import author_of
from export.gguf import target_for

NAME = "student-1.5b-onnx-int4"
FROM_WITHIN = [(".", "."), (".", "./"), ("inner", ".."), ("inner", "../."), ("..", f"{NAME}/")]


def manifest_of(*files: Path, folder: str = "", **quantization: object) -> ArtifactManifest:
    described = [describe(file) for file in files]
    return ArtifactManifest(
        files=[one.model_copy(update={"path": f"{folder}{one.path}"}) for one in described],
        student="runs/mine/student", student_sha256="0", base=None, recipe_sha256=None,
        data_sha256={}, quantization=quantization, parity={}, tools={},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Something like an ONNX folder in the `edge/` of a run, with its manifest."""
    folder = tmp_path / "run/edge" / NAME
    (folder / "inner").mkdir(parents=True)
    (folder / ONNX_MARK).write_text("{}")
    stated = {"format": "onnx", "type": "ONNX-INT8"}
    write_manifest(folder, manifest_of(folder / ONNX_MARK, folder=f"{NAME}/", **stated))
    return folder


@pytest.mark.parametrize(("here", "given"), FROM_WITHIN)
def test_a_folder_has_its_name_also_for_who_stands_in_it(folder, monkeypatch, here, given):
    monkeypatch.chdir(folder / here)
    path = Path(given)
    assert (artifact_name(path), named(path).name) == (NAME, NAME)
    assert exported_artifact(path).resolve() == folder
    assert manifest_path(path).resolve() == manifest_path(folder)
    assert told_digest(path) == told_digest(folder) is not None
    assert check_files(path) == read_manifest(folder)
    assert run_of(path).resolve() == folder.parent.parent
    assert names(chosen([path])) == [NAME]
    assert open_source(path).sha256 == told_digest(folder)


def test_a_changed_file_is_found_from_within_and_the_right_export_is_named(folder, monkeypatch):
    (folder / ONNX_MARK).write_text('{"changed": 1}')
    monkeypatch.chdir(folder / "inner")
    with pytest.raises(CheckFailed, match=r"distill export onnx runs/mine/student --bits 8$"):
        check_files(Path(".."))


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ({"type": "Q8_0"}, "--bits 8"),
        ({"type": "Q4_K_M", "reason": "4 bits: the default"}, "--bits 4"),
        ({"type": "F16"}, "--bits 16"),
        ({"type": "IQ4_XS", "reason": BY_NAME}, "--type IQ4_XS"),
        ({"type": "TQ1_0", "reason": BY_NAME}, "--type TQ1_0"),
        ({}, "--bits 4"),
    ],
)
def test_a_gguf_file_is_exported_again_as_it_was(tmp_path, told, asked):
    file = tmp_path / "student.gguf"
    file.write_text("as exported")
    write_manifest(file, manifest_of(file, **told))
    file.write_text("changed")
    with pytest.raises(CheckFailed, match=f"export gguf runs/mine/student {asked}$"):
        check_files(file)


def test_a_file_without_its_manifest_is_told_where_it_is(tmp_path):
    (tmp_path / "student.gguf").write_text("as exported")
    with pytest.raises(
        MissingInput, match=r"gguf\.manifest\.json does not exist; an export writes"
    ):
        check_files(tmp_path / "student.gguf")


def test_the_run_of_a_file_is_found_from_its_own_folder(tmp_path, monkeypatch):
    edge = tmp_path / "run/edge"
    edge.mkdir(parents=True)
    assert run_of(edge / "student.gguf") == tmp_path / "run"
    assert run_of(tmp_path / "student.gguf") == tmp_path
    monkeypatch.chdir(edge)
    assert run_of(Path("student.gguf")) == tmp_path / "run"
    monkeypatch.chdir(tmp_path)
    assert run_of(Path("run/edge/student.gguf")) == Path("run")
    assert run_of(Path("student.gguf")) == Path()


def test_a_checkpoint_and_a_teacher_are_named_from_within_too(tmp_path, monkeypatch):
    (tmp_path / "student/inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "student/inner")
    assert target_for(Path(".."), None, "F16") == tmp_path / "edge/student-F16.gguf"
    assert author_of("transformers:..") == "student"
    assert author_of("openai:gpt-4o") == "gpt-4o"


def test_what_is_no_artifact_is_told_what_it_is(tmp_path):
    with pytest.raises(MissingInput, match="none does not exist; write it with"):
        exported_artifact(tmp_path / "none")
    with pytest.raises(BadInput, match="is a folder with no ONNX student in it"):
        exported_artifact(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match=rf"is a checkpoint, .*distill export gguf {tmp_path} "):
        exported_artifact(tmp_path)


def test_the_runtime_talks_in_the_folder_that_one_stands_in(tiny_onnx, tmp_path):
    folder = Path(shutil.copytree(tiny_onnx, tmp_path / NAME))
    files = sorted(folder.iterdir())
    write_manifest(folder, manifest_of(*files, folder=f"{NAME}/", format="onnx"))
    argv = [sys.executable, "-m", "runtime", "chat", "."]

    def ran() -> subprocess.CompletedProcess:
        return subprocess.run(argv, capture_output=True, text=True, cwd=folder, input="")

    done = ran()
    assert (done.returncode, done.stderr.split(";")[0]) == (0, NAME)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    done = ran()
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert "chat_template.jinja does not match its manifest" in done.stderr
