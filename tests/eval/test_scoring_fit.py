"""Fitting the scorer and measuring it, through their command lines."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eval.scoring.offline import AGREEMENT, TABLES, WEIGHTS, load_scorer
from tests.eval.pairs import (
    ROOT,
    distill,
    error_line,
    write_answers,
    write_dialogues,
    write_lines,
)

AGREEMENT_SCRIPT = "tests/benchmarks/scorer_agreement.py"


def python(*words: object, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.fixture(scope="module")
def gathered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit") / "data"
    done = distill("gather", "starter", "--parts", "abc", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_same_data_gives_the_same_bytes(gathered, tmp_path):
    folders = tmp_path / "one", tmp_path / "two"
    for seed, folder in enumerate(folders, 1):
        words = ["-m", "eval.scoring", "learn", gathered, "--out", folder, "--json"]
        done = python(*words, PYTHONHASHSEED=str(seed))
        assert done.returncode == 0, done.stderr
    first, second = (load_scorer(folder) for folder in folders)
    assert json.loads(done.stdout)["sha256"] == first.digest == second.digest
    assert first.digest != load_scorer().digest
    assert "not been measured" in first.agreement_note
    assert (folders[0] / TABLES).read_bytes() == (folders[1] / TABLES).read_bytes()
    known = json.loads((folders[0] / WEIGHTS).read_text())
    assert known["test_order"]["starter"]["whole: direct over plain"] > 0.8
    assert set(known["data_sha256"]) == {path.name for path in gathered.glob("*.jsonl")}


def test_a_folder_without_grades_is_refused(gathered, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    for name in ("dialogues.jsonl", "privileged.jsonl"):
        write_lines(
            data / name, [json.loads(line) for line in (gathered / name).read_text().splitlines()]
        )
    write_lines(data / "responses.jsonl", [])
    done = python("-m", "eval.scoring", "learn", data, "--out", out)
    assert "has 0 training dialogues" in error_line(done)
    assert "distill gather starter curriculum" in error_line(done)
    assert not out.exists()


def test_a_folder_that_nobody_gathered_is_refused(tmp_path):
    done = python("-m", "eval.scoring", "learn", tmp_path / "none", "--out", tmp_path / "out")
    assert "does not exist" in error_line(done)
    assert not (tmp_path / "out").exists()


def rated_file(path: Path) -> Path:
    """Three dialogues; the second has nothing decided."""
    names = ("human", "first_llm", "second_llm")
    good, okay, bad = "I'm so sorry about your cat. I hope it gets well.", "I see.", "Whatever."
    rows = [((good, bad, okay), (3, 1, 2)), ((good, bad, okay), (2, 2, 2))]
    rows.append(((bad, okay, good), (1, 1, 3)))
    with path.open("w", newline="") as file:
        lines = csv.writer(file)
        columns = [f"{kind}_{name}" for kind in ("response", "rating") for name in names]
        lines.writerow(["speaker_uttr", *columns])
        for texts, ratings in rows:
            lines.writerow(["My cat is ill.", *texts, *ratings])
    return path


def test_agreement_counts_decided_pairs_only_and_keeps_no_text(tmp_path):
    out = tmp_path / AGREEMENT
    done = python(AGREEMENT_SCRIPT, rated_file(tmp_path / "rated.csv"), "--out", out)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text())
    assert found["scorer_sha256"] == load_scorer().digest
    mine = found["methods"]["scorer"]
    assert [mine[name]["pairs"] for name in ("all", "human against LLM")] == [5, 3]
    assert mine["good against bad"]["agreement"] == 1.0
    assert "sorry" not in out.read_text()
    only = python(AGREEMENT_SCRIPT, tmp_path / "rated.csv", "--by", "human", "--out", out)
    assert only.returncode == 0, only.stderr
    assert json.loads(out.read_text())["methods"]["scorer"]["all"]["pairs"] == 3
    assert python(AGREEMENT_SCRIPT, tmp_path / "rated.csv", "--by", "human").returncode == 2
    assert "cat" not in json.dumps(sorted(found))


def test_the_note_stands_beside_the_verdicts(tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    answers = [
        write_answers(tmp_path / f"{name}.jsonl", name, [text] * 4)
        for name, text in (("student", "I'm so sorry about your dog."), ("base", "Whatever."))
    ]
    words = [*answers, "--dialogues", dialogues, "--judge", "offline", "--out", tmp_path / "judged"]
    note = load_scorer().agreement_note
    done = distill("eval", "winrate", *words, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["agreement_note"] == note
    assert (found["win_rate"], found["flips"]) == (1.0, 0)
    shown = distill("eval", "winrate", *words, COLUMNS="100").stdout
    assert note in " ".join(shown.replace("│", " ").split())
