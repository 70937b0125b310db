"""Which files a page opens when they are named, and when they are not."""

import os

import pytest

from demo.files import chosen, digest, names
from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import sha256_of
from distill.core.manifest import ArtifactManifest, describe, write_manifest


def exported(path, age=0):
    """A file with a manifest beside it; no page opens it here."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(path.name)
    path.with_name(f"{path.name}.manifest.json").write_text("{}")
    os.utime(path, (1_000_000 - age, 1_000_000 - age))
    return path


def test_the_newest_student_is_opened_with_its_base(tmp_path):
    exported(tmp_path / "old/edge/student-Q8_0.gguf", age=100)
    student = exported(tmp_path / "new/edge/student-Q4_K_M.gguf", age=10)
    exported(tmp_path / "new/edge/base-Q8_0.gguf")
    base = exported(tmp_path / "new/edge/base-Q4_K_M.gguf", age=5)
    assert chosen([], tmp_path) == [student, base]


def test_without_a_base_another_precision_is_the_companion(tmp_path):
    small = exported(tmp_path / "edge/student-Q4_K_M.gguf")
    large = exported(tmp_path / "edge/student-F16.gguf", age=5)
    assert chosen([small]) == [small, large]


def test_a_file_alone_is_opened_alone(tmp_path):
    file = exported(tmp_path / "edge/student-Q4_K_M.gguf")
    exported(tmp_path / "edge/other-Q4_K_M.gguf")
    assert chosen([file]) == [file]


def test_a_manifest_whose_file_is_gone_is_passed_over(tmp_path):
    exported(tmp_path / "edge/student-Q4_K_M.gguf").unlink()
    with pytest.raises(MissingInput, match=r"no exported file lies under .*distill quickstart"):
        chosen([], tmp_path)


def test_a_missing_file_says_how_to_write_one(tmp_path):
    with pytest.raises(MissingInput, match=r"none\.gguf does not exist; write it with"):
        chosen([tmp_path / "none.gguf"])


def test_three_files_and_one_file_twice_are_refused(tmp_path):
    files = [exported(tmp_path / f"{name}.gguf") for name in "abc"]
    with pytest.raises(BadInput, match="compares two files, and 3 are named"):
        chosen(files)
    with pytest.raises(BadInput, match="named twice"):
        chosen([files[0], files[0]])


def test_equal_stems_are_numbered(tmp_path):
    one, two = tmp_path / "a/student.gguf", tmp_path / "b/student.gguf"
    assert names([exported(one), exported(two)]) == ["1-student", "2-student"]
    assert names([one]) == ["student"]


def test_a_file_is_known_by_its_manifest_which_its_server_checks_and_else_by_itself(tmp_path):
    file = tmp_path / "student.gguf"
    file.write_text("as exported")
    known = digest(file)
    assert known == sha256_of(file)
    manifest = ArtifactManifest(
        files=[describe(file)], student="s", student_sha256="0", base=None, recipe_sha256=None,
        data_sha256={}, quantization={}, parity={}, tools={},
    )  # fmt: skip
    write_manifest(file, manifest)
    file.write_text("not read again")
    assert digest(file) == known


def test_a_folder_that_is_no_student_is_refused_before_any_of_it_is_read(tmp_path):
    with pytest.raises(BadInput, match="no ONNX student in it"):
        chosen([tmp_path])
