"""An export that is killed leaves no file that does not verify, and the next one goes on."""

import fcntl
import shutil

import pytest

from distill.core.errors import Unavailable
from export.workshop import once, put_in_place, refuse_without_room, workshop
from tests.export.killing import ExportKilling
from tests.export.students import few_dialogues
from tests.models import tiny_checkpoint


def test_a_killed_export_is_taken_up_where_it_was(tmp_path):
    few = ("--imatrix", few_dialogues(tmp_path / "few.jsonl"))
    run = ExportKilling(tiny_checkpoint(tmp_path / "student"), tmp_path / "edge", *few)
    assert run.kill_at("F16.gguf") and run.sound() and not run.target.exists()
    first = (run.work / "F16.gguf").stat().st_mtime_ns
    assert run.kill_at("Q4_K_M.gguf.part") and run.sound() and not run.target.exists()
    assert (run.work / "F16.gguf").stat().st_mtime_ns == first
    said = run.finish()
    assert "resuming an export that was cut off; F16.gguf, importance.npz" in said
    assert run.target.exists() and run.sound() and run.rubbish() == []


def test_another_order_does_not_take_up_what_it_did_not_begin(tmp_path):
    target = tmp_path / "student.gguf"
    work = tmp_path / ".student.gguf.work"
    work.mkdir()
    for name, text in {"key": "one", "F16.gguf": "old", "trial.part": "half"}.items():
        (work / name).write_text(text)
    with workshop(target, "two") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["key", "lock"]
    assert not work.exists()


def test_what_was_begun_is_removed_and_what_was_finished_stays(tmp_path, capsys):
    work = tmp_path / ".student.gguf.work"
    work.mkdir()
    for name, text in {"key": "one", "F16.gguf": "whole", "trial.part": "half"}.items():
        (work / name).write_text(text)
    with workshop(tmp_path / "student.gguf", "one") as folder:
        assert sorted(path.name for path in folder.iterdir()) == ["F16.gguf", "key", "lock"]
        again = once(folder / "F16.gguf", lambda path: pytest.fail("written twice"))
        assert again.read_text() == "whole"
    assert "F16.gguf is there already" in capsys.readouterr().err


def test_two_exports_of_one_file_do_not_meet(tmp_path):
    work = tmp_path / ".student.gguf.work"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with (
            pytest.raises(Unavailable, match="another export is writing"),
            workshop(tmp_path / "student.gguf", "key"),
        ):
            pytest.fail("entered")
    assert work.exists()


def test_a_disk_that_is_too_small_is_refused_before_the_first_byte(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Unavailable, match="has 1 MB free and the export needs about 3 MB"):
        refuse_without_room(tmp_path / "student.gguf", 3_000_000)
    refuse_without_room(tmp_path / "student.gguf", 1_000_000)


def test_what_a_killed_export_left_counts_as_room(tmp_path, monkeypatch):
    work = tmp_path / ".student.gguf.work"
    work.mkdir()
    (work / "F16.gguf").write_bytes(bytes(2_000_000))
    usage = shutil.disk_usage(tmp_path)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    refuse_without_room(tmp_path / "student.gguf", 3_000_000)


def test_the_old_file_goes_before_the_new_manifest_comes(tmp_path):
    written, target = tmp_path / "new", tmp_path / "student.gguf"
    written.write_text("new")
    target.write_text("old")
    put_in_place(written, target, lambda: pytest.fail("old") if target.exists() else None)
    assert target.read_text() == "new" and not written.exists()
