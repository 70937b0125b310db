"""distill gather: one folder out of many corpora, whole or not at all."""

import json

import pytest

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Privileged, Response
from distill.corpora.reading import Request
from distill.corpora.table import CORPORA, reader
from distill.gather import FILES, gather, write
from tests.distill.command_line import distill, outcome, refusal
from tests.distill.raw_corpora import rated_csv, rated_row, story, talk, write_lines


def test_the_starter_and_the_curriculum_become_one_folder(tmp_path):
    out = tmp_path / "runs/one/data"
    words = ["gather", "starter", "--parts", "f", "curriculum", "--count", "200", "--out", out]
    found = outcome(*words)
    assert sorted(f.name for f in out.iterdir()) == sorted(FILES)
    assert [f.name for f in out.parent.iterdir()] == ["data"]
    dialogues = read_jsonl(out / "dialogues.jsonl", Dialogue)
    responses = read_jsonl(out / "responses.jsonl", Response)
    strays = sum(r.strategy == "stray" for r in responses)
    assert strays > 180
    assert found["counts"]["curriculum"] == {
        "train": 192, "valid": 4, "test": 4, "responses": 800 + strays
    }  # fmt: skip
    assert {d.id[0] for d in dialogues if d.source == "starter"} == {"f"}
    assert len(dialogues) == 350
    ids = {d.id for d in dialogues}
    assert {p.dialogue_id for p in read_jsonl(out / "privileged.jsonl", Privileged)} == ids
    assert {r.dialogue_id for r in responses} == ids
    assert found["out"] == str(out)
    written = json.loads((out / "gather.json").read_text())
    assert {key: found[key] for key in written} == written
    assert all(len(digest) == 64 for c in written["corpora"] for digest in c["files"].values())


def test_the_same_words_write_the_same_bytes_and_another_seed_does_not(tmp_path):
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder, seed in zip(folders, (5, 5, 6), strict=True):
        write(gather(["starter", "curriculum"], Request(seed=seed, count=50, parts="ab")), folder)
    first, again, other = ([f.joinpath(n).read_bytes() for n in FILES] for f in folders)
    assert first == again
    assert first != other


def test_a_second_run_takes_the_place_of_the_first(tmp_path):
    out = tmp_path / "data"
    write(gather(["starter"], Request(parts="a")), out)
    write(gather(["starter"], Request(parts="b")), out)
    assert {d.id[0] for d in read_jsonl(out / "dialogues.jsonl", Dialogue)} == {"b"}
    assert [f.name for f in tmp_path.iterdir()] == ["data"]


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    error = refusal("gather", "starter", "--out", tmp_path)
    assert "holds thesis.txt, which this command does not write; choose another --out" in error
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "data").write_text("a file")
    error = refusal("gather", "starter", "--out", tmp_path / "data")
    assert "is a file, not a folder" in error


def test_every_broken_row_of_every_corpus_is_named_once_and_nothing_is_written(tmp_path):
    good = talk(1)
    broken = [good, '{"conv_id": ', {**talk(2), "turns": []}, talk(3)]
    talks = write_lines(tmp_path / "train.jsonl", broken)
    ratings = rated_csv(
        tmp_path / "rated.csv", [rated_row(4, (1, 2, 3, 3, 3)), rated_row(5, (3, 3, 7, 3, 3))]
    )
    out = tmp_path / "out"
    names = (f"empathetic-dialogues={talks}", f"rated-responses={ratings}")
    error = refusal("gather", *names, "--out", out)
    head, *lines = error.splitlines()
    assert head == "error: 3 broken lines; mend or delete, nothing was written:"
    assert f"{talks}:2: not valid JSON" in lines[0]
    assert f"{talks}:3: turns: " in lines[1]
    # The first row spans lines 2 to 7, because five of its fields hold a line break.
    assert lines[2].strip() == f"{ratings}:8: rating_llama_empathy is '7', expected 1, 2 or 3"
    assert not out.exists()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["rated.csv", "train.jsonl"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reddit", "--out", "x"], "there is no corpus named reddit; known are: starter, "),
        (["starter", "--parts", "az", "--out", "x"], "the starter has no part z; its parts are a,"),
        (["starter"], "say where to write, or what to show: --out FOLDER, --stats, or both"),
        (["esconv", "--out", "x"], "esconv is read from files; name them: esconv=PATH (the orig"),
        (["esconv=nowhere", "--out", "x"], "nowhere does not exist (the original: https://"),
    ],
    ids=["corpus", "part", "no place", "no path", "no file"],
)
def test_what_a_person_can_mend_is_one_line(words, expected):
    error = refusal("gather", *words)
    assert error.startswith("error: ") and expected in error
    assert len(error.splitlines()) == 1


def test_a_conversation_in_two_corpora_is_kept_once_for_the_test_or_with_most_responses(tmp_path):
    write_lines(tmp_path / "train.jsonl", [talk(number) for number in range(4)])
    rows = [rated_row(0, (1, 1, 1, 1, 3)), rated_row(1, (3, 3, 3, 3, 3))]
    ratings = rated_csv(tmp_path / "rated.csv", rows)
    sources = [f"empathetic-dialogues={tmp_path}", f"rated-responses={ratings}"]
    for order in (sources, sources[::-1]):
        gathered = gather(order)
        by_id = {item.dialogue.id: item.dialogue for item in gathered.items}
        assert len(by_id) == len(gathered.items) == 4
        for number in (0, 1):
            assert by_id[f"hit:{number}_conv:{number}"].source == "rated-responses"
        assert by_id["hit:0_conv:0"].split == "test"
        assert gathered.report["repeated_conversations"] == 2


def test_a_training_dialogue_near_to_a_test_one_is_dropped_and_named(tmp_path):
    rows = [
        {"id": "kept", "split": "test", "messages": [{"role": "user", "content": story(1)}]},
        {"id": "near", "messages": [{"role": "user", "content": story(1).upper() + "!"}]},
        {"id": "far", "messages": [{"role": "user", "content": story(2)}]},
    ]
    rows[1]["split"] = rows[2]["split"] = "train"
    file = write_lines(tmp_path / "own.jsonl", rows)
    out = tmp_path / "data"
    found = outcome("gather", f"messages={file}", "--out", out)
    assert found["near_duplicates"]["near_to"] == {"near": "kept"}
    assert {d.id for d in read_jsonl(out / "dialogues.jsonl", Dialogue)} == {"kept", "far"}
    shown = distill("gather", f"messages={file}", "--out", out)
    assert "1 near-duplicate across splits removed" in shown.stdout


def test_an_empty_file_is_refused(tmp_path):
    file = write_lines(tmp_path / "none.jsonl", [])
    with pytest.raises(BadInput, match="no dialogues in messages="):
        gather([f"messages={file}"])


def test_every_corpus_of_the_table_can_be_read_or_says_what_it_needs():
    for name, corpus in CORPORA.items():
        if corpus.usage == name:
            assert gather([name], Request(count=20)).items
        else:
            with pytest.raises(BadInput, match=f"{name} is read from files"):
                gather([name])
    with pytest.raises(BadInput, match="no corpus named"):
        reader("nothing")


def test_a_folder_without_a_known_file_is_refused(tmp_path):
    with pytest.raises(MissingInput, match=r"holds no file of esconv \(known: train.txt"):
        gather([f"esconv={tmp_path}"])
