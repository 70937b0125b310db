"""An ONNX folder goes everywhere that a GGUF file goes: answers, verdicts, latency, report."""

import json
import shutil
from pathlib import Path

import pytest

from demo.story import open_source, story
from distill.core.identity import digest_of, stated_digest
from distill.core.jsonl import sha256_of
from distill.core.manifest import manifest_path, read_manifest
from distill.core.naming import artifact_name
from eval.candidates import kind_of
from eval.pages.evidence import find_artifact, read_evidence
from tests.eval.pairs import distill, error_line, lines_of, write_answers, write_dialogues
from tests.export.commands import export
from tests.export.students import few_dialogues
from tests.models import tiny_checkpoint

QUICK = ["--length", 16, "--repeats", 1, "--decode-tokens", 4, "--loads", 1, "--limit", 2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What `distill export onnx` wrote into a run."""
    run = tmp_path_factory.mktemp("runs") / "mine"
    student = tiny_checkpoint(run / "student", layers=1)
    text = few_dialogues(run.parent / "few.jsonl", count=2)
    done = export("onnx", student, "--text", text, "--imatrix", "none", "--json")
    assert done.returncode == 0, done.stderr
    write_dialogues(run / "sets/test.jsonl")
    return Path(json.loads(done.stdout)["path"])


def works(*words: object) -> dict:
    done = distill(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_manifest_states_the_digest_of_the_folder_and_strays_do_not_change_it(folder, tmp_path):
    manifest = read_manifest(folder)
    assert digest_of(folder) == stated_digest(manifest, folder.name) == sha256_of(folder)
    copy = shutil.copytree(folder, tmp_path / folder.name)
    (copy / ".DS_Store").write_bytes(b"a stray")
    assert digest_of(copy) == sha256_of(copy) != sha256_of(folder)
    shutil.copy(manifest_path(folder), manifest_path(copy))
    assert digest_of(copy) == sha256_of(folder)


def test_one_folder_is_answered_judged_timed_and_reported(folder):
    run, key = folder.parent.parent, sha256_of(folder)
    test, mine, base = run / "sets/test.jsonl", *(run / f"answers/{n}.jsonl" for n in "ab")
    told = works("eval", "answer", folder, "--dialogues", test, "--out", mine, "--max-tokens", 6)
    assert (told["artifact_sha256"], told["candidate"]) == (key, "student-onnx-int4")
    assert {line["artifact_sha256"] for line in lines_of(mine)} == {key}
    write_answers(base, "base", ["I am here. What happened then?"] * 4)
    judged = works("eval", "winrate", mine, base, "--dialogues", test, "--out", run / "judged")
    assert judged["candidates"]["student-onnx-int4"]["artifact_sha256"] == key
    timed = works("eval", "latency", folder, "--max-tokens", 6, *QUICK)
    assert timed["artifact_sha256"] == key and timed["out"] == str(run / "latency.json")
    found = works("eval", "report", run, "--artifact", folder)
    assert found["artifact_sha256"] == key
    assert all(find_artifact(folder.parent, n) for n in (folder.name, f"{folder.name}/"))
    page = (run / "report/report.html").read_text().replace("\u00a0", " ")
    assert "student-onnx-int4 (" in found["summary"] and "bits per weight" in found["summary"]
    for shown in (key, "size of the folder", "ONNX-INT4", "passed", "Parity gate: ONNX int4"):
        assert shown in page, shown
    assert "fell back" not in page
    sections = {section.title: section for section in story(folder)}
    for title in ("Is it better? (win rate)", "How fast is it?", "The file"):
        assert sections[title].absent is None, sections[title]
    assert open_source(folder).sha256 == key


def test_the_report_keeps_its_key_where_the_folder_is_gone(folder, tmp_path):
    shutil.copytree(folder.parent, tmp_path / "edge")
    shutil.rmtree(tmp_path / "edge" / folder.name)
    found = read_evidence(tmp_path).artifact
    assert found and found.sha256 == sha256_of(folder) and found.noun == "folder"
    assert found.size_bytes == sum(file.stat().st_size for file in folder.iterdir())


def test_a_folder_that_is_not_what_was_exported_is_not_answered(folder, tmp_path):
    copy = shutil.copytree(folder.parent, tmp_path / "edge") / folder.name
    with (copy / "model.onnx.data").open("r+b") as weights:
        weights.write(b"other")
    words = ["--dialogues", folder.parent.parent / "sets/test.jsonl", "--out", tmp_path / "x.jsonl"]
    line = error_line(distill("eval", "answer", copy, *words))
    assert "did not start" in line and "does not match its manifest" in line
    assert not (tmp_path / "x.jsonl").exists()


def test_a_folder_is_told_from_a_checkpoint_and_named_whole(tmp_path):
    for name in ("config.json", "genai_config.json"):
        (tmp_path / name).write_text("{}")
    assert kind_of(str(tmp_path)) == "artifact"
    (tmp_path / "genai_config.json").unlink()
    assert kind_of(str(tmp_path)) == "checkpoint"
    dotted = tmp_path / "qwen2.5-0.5b"
    dotted.mkdir()
    assert artifact_name(dotted) == "qwen2.5-0.5b"
    assert artifact_name(Path("a/b-Q4_K_M.gguf")) == "b-Q4_K_M"


def test_an_artifact_that_is_not_in_the_run_is_named_with_those_that_are(folder, tmp_path):
    line = error_line(distill("eval", "report", folder.parent.parent, "--artifact", tmp_path / "x"))
    assert f"holds no artifact {tmp_path / 'x'}" in line and f"there are: {folder.name}" in line
