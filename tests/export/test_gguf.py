"""`distill export gguf` and `distill export verify`, as people run them."""

import json
import shutil
from pathlib import Path

import pytest

import runtime
from distill.core.manifest import manifest_path, read_manifest
from export.calibration import calibration_path
from tests.export.commands import export, export_process, left_behind, one_line
from tests.export.students import few_dialogues, lively_student
from tests.models import tiny_checkpoint


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A checkpoint, its 4-bit file and what the command said."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("run") / "student")
    (folder / "kindred.json").write_text(
        json.dumps({"base": "starter", "recipe_sha256": "r", "data_sha256": {"sft.jsonl": "d"}})
    )
    text = few_dialogues(folder.parent / "few.jsonl")
    done = export_process("gguf", folder, "--bits", 4, "--imatrix", text, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def copy_of(exported, folder: Path) -> Path:
    """The exported file with its manifest in a folder of its own."""
    source = Path(exported[1]["path"])
    for path in (source, manifest_path(source), calibration_path(source)):
        shutil.copy(path, folder / path.name)
    return folder / source.name


def test_a_student_becomes_a_four_bit_file_beside_its_folder(exported):
    folder, said = exported
    assert said["path"] == str(folder.parent / "edge" / "student-Q4_K_M.gguf")
    assert said["size_bytes"] == Path(said["path"]).stat().st_size
    assert said["type"] == "Q4_K_M" and said["fallback"] == []
    assert 4.5 <= said["bits_per_weight"] <= said["file_bits_per_weight"] <= 5.2
    assert left_behind(folder.parent / "edge") == [
        "README.md",
        "student-Q4_K_M.Modelfile",
        "student-Q4_K_M.gguf",
        "student-Q4_K_M.gguf.manifest.json",
        "student-Q4_K_M.imatrix.jsonl",
    ]
    assert said["reason"].startswith("4 bits: 4-bit blocks")


def test_the_manifest_names_the_student_its_types_and_its_parity(exported):
    folder, said = exported
    manifest = read_manifest(Path(said["path"]))
    assert manifest.student == str(folder)
    assert (manifest.base, manifest.recipe_sha256) == ("starter", "r")
    assert manifest.data_sha256 == {"sft.jsonl": "d"}
    assert sum(manifest.quantization["bytes_by_class"].values()) < said["size_bytes"]
    assert manifest.parity["passed"] is True
    assert manifest.quantization["importance"]["text"] == "few.jsonl"
    assert manifest.quantization["importance"]["conversations"] == 8
    assert [file.path for file in manifest.files] == [
        "student-Q4_K_M.gguf",
        "student-Q4_K_M.imatrix.jsonl",
    ]
    assert [link["candidate"] for link in manifest.parity["links"]] == ["F16", "Q4_K_M"]
    assert {"gguf", "torch"} <= set(manifest.tools)


def test_the_runtime_chats_with_the_file(exported):
    with runtime.load(exported[1]["path"]) as engine:
        reply = engine.chat([{"role": "user", "content": "I lost my job"}], max_tokens=4)
        assert [piece.finish_reason for piece in reply][-1] in ("stop", "length")


def test_verify_finds_one_changed_byte(exported, tmp_path):
    file = copy_of(exported, tmp_path)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    done = export("verify", file, "--digests-only")
    assert done.returncode == 1
    assert "does not match its manifest" in one_line(done)


def test_verify_finds_a_changed_template(exported, tmp_path):
    file = copy_of(exported, tmp_path)
    student = shutil.copytree(exported[0], tmp_path / "student")
    template = student / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|user|>", "<|human|>") + " ")
    done = export("verify", file, student)
    assert done.returncode == 1
    line = one_line(done)
    assert "chat template differs" in line and "folder has changed" in line


def test_verify_finds_a_changed_calibration_text(exported, tmp_path):
    file = copy_of(exported, tmp_path)
    with calibration_path(file).open("a") as text:
        text.write("\n")
    done = export("verify", file, "--digests-only")
    assert done.returncode == 1 and "imatrix.jsonl does not match" in one_line(done)


def test_verify_finds_the_file_unchanged_in_at_most_two_and_a_half_passes(exported):
    done = export("verify", exported[1]["path"], "--json")
    assert done.returncode == 0, done.stderr
    gate = json.loads(done.stdout)["gate"]
    assert gate["passed"] is True and gate["forward_passes"] == 2
    assert 2 < exported[1]["gate"]["forward_passes"] <= 2.5


def test_verify_compares_digests_alone_when_asked(exported):
    done = export("verify", exported[1]["path"], "--digests-only", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gate"] is None


def test_verify_wants_a_manifest_and_a_student(exported, tmp_path):
    file = copy_of(exported, tmp_path)
    done = export("verify", file, tmp_path / "nobody")
    assert done.returncode == 2 and "name its folder after the file" in one_line(done)
    manifest_path(file).unlink()
    done = export("verify", file)
    assert done.returncode == 2 and "manifest.json does not exist" in one_line(done)


def test_a_file_that_fails_the_gate_is_not_kept(tmp_path):
    student = lively_student(tmp_path / "student")
    words = ["--type", "Q4_0", "--imatrix", "none"]
    done = export("gguf", student, *words, "--out", tmp_path / "edge")
    assert done.returncode == 1
    *table, line = done.stderr.splitlines()
    assert "gate failed: Q4_0 against F16: top-1" in line and "< 88%" in line
    assert any("failed" in row for row in table)
    assert left_behind(tmp_path / "edge") == []


def test_without_the_gate_nothing_is_claimed(tmp_path):
    student = lively_student(tmp_path / "student")
    target = tmp_path / "chosen.gguf"
    words = ["--type", "Q4_0", "--imatrix", "none", "--no-gate"]
    done = export("gguf", student, *words, "--out", target)
    assert done.returncode == 0, done.stderr
    assert "nothing is known of this file" in done.stdout
    assert read_manifest(target).parity["passed"] is None
