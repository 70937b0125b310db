"""A folder of files takes its place whole or not at all."""

from pathlib import Path

import pytest

from distill.core.errors import BadInput
from distill.core.folder import replacing_folder

NAMES = ("one.txt", "two.txt")


def test_a_failure_halfway_leaves_what_was_there(tmp_path):
    out = tmp_path / "deep/out"
    with replacing_folder(out, NAMES) as folder:
        (folder / "one.txt").write_text("first")
    with pytest.raises(OSError, match="no space"), replacing_folder(out, NAMES) as folder:
        (folder / "one.txt").write_text("second")
        raise OSError("no space")
    assert (out / "one.txt").read_text() == "first"
    assert [f.name for f in out.parent.iterdir()] == ["out"]


def test_a_failure_at_the_first_time_leaves_nothing(tmp_path):
    with pytest.raises(KeyError), replacing_folder(tmp_path / "out", NAMES) as folder:
        (folder / "one.txt").write_text("half")
        raise KeyError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_new_folder_replaces_the_old_one_entirely(tmp_path):
    for name in NAMES:
        with replacing_folder(tmp_path / "out", NAMES) as folder:
            (folder / name).write_text(name)
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["two.txt"]


def test_what_the_command_does_not_write_is_never_removed(tmp_path):
    (tmp_path / "photo.jpg").write_text("dear")
    with pytest.raises(BadInput, match=r"holds photo\.jpg"), replacing_folder(tmp_path, NAMES):
        raise AssertionError("not reached")
    assert (tmp_path / "photo.jpg").exists()


def test_the_folder_that_one_stands_in_is_not_taken_from_under_ones_feet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="that you are in"), replacing_folder(Path(), NAMES):
        raise AssertionError("not reached")
    assert Path.cwd() == tmp_path
