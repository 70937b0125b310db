"""The tab *Inside*: what a run folder tells of a file, and what it says when a part is missing."""

import pytest

from demo.story import first_tokens_ms, markdown, story
from distill.core.jsonl import digest_text
from tests.eval.run_folder import RunFolder

PAIRS = [(f"message {n}", f"mine {n}", f"theirs {n}") for n in range(4)]


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run", PAIRS).write_all()


def told(file):
    return {section.title: section for section in story(file)}


def rows(section):
    assert section.absent is None, section.absent
    return {row[0]: row[1:] for row in section.rows}


def test_every_part_of_a_run_is_told(run):
    found = told(run.artifact)
    assert rows(found["The file"])["sha256"] == (run.sha256,)
    assert rows(found["What it was distilled from"])["base"] == ("distill/starter/base",)
    assert rows(found["What it learnt from (data card)"])["sft"][0] == "9,120"
    gate = rows(found["Is it still the student? (parity gate)"])
    assert gate["Q4_K_M against F16"] == ("0.031 (at most 0.08)", "91.4% (at least 88%)")
    assert rows(found["Is it better? (win rate)"])["student wins against base"] == ("100.0%",)
    assert rows(found["How fast is it?"])["first token, median"] == ("34 ms",)
    assert len(first_tokens_ms(run.artifact)) == 20


def test_a_file_alone_says_what_is_missing(tmp_path):
    file = tmp_path / "alone.gguf"
    file.write_text("alone")
    sections = story(file)
    assert all(section.absent for section in sections)
    assert "alone.gguf.manifest.json is not there" in sections[0].absent
    assert first_tokens_ms(file) == []


def test_parts_of_another_file_are_not_shown_as_this_ones(run):
    run.write_latency(digest_text("another"))
    run.write_student(recipe="another")
    run.write_artifact("base")
    base = told(run.path / "edge/base-Q4_K_M.gguf")
    mine = told(run.artifact)
    assert "about another file" in mine["How fast is it?"].absent
    assert "another training" in mine["What it was distilled from"].absent
    assert "other sets" in mine["What it learnt from (data card)"].absent
    assert "about other files" in base["Is it better? (win rate)"].absent
    assert first_tokens_ms(run.artifact) == []


def test_a_part_that_cannot_be_read_says_so(run):
    (run.path / "judged/winrate.json").write_text("{")
    (run.path / "latency.json").write_text(f'{{"artifact_sha256": "{run.sha256}"}}')
    found = told(run.artifact)
    assert "not valid JSON" in found["Is it better? (win rate)"].absent
    assert "cannot be read" in found["How fast is it?"].absent
    (run.path / "edge/student-Q4_K_M.gguf.manifest.json").write_text("[]")
    assert "is not a manifest" in story(run.artifact)[0].absent


def test_a_table_is_safe_from_what_its_cells_hold(run):
    run.change_winrate(judge="a | b\nc")
    section = told(run.artifact)["Is it better? (win rate)"]
    assert r"a \| b c" in markdown(section)
