"""`distill eval measure` through the command line, and likelihood by torch and by llama.cpp."""

import json
import math
from dataclasses import replace

import pytest

from distill.core.errors import BadInput, MissingExtra, Unsupported
from distill.core.jsonl import read_jsonl, sha256_of
from distill.core.records import Dialogue
from eval.held_out import read_answers
from eval.measures import likelihood, perplexity
from eval.measures.likelihood import opened_likelihood
from tests.eval.measured import TEST, gathered, material
from tests.eval.pairs import distill, error_line, lines_of, write_answers, write_lines

TEXTS = ["I am so sorry.", "How wonderful!"] * (TEST // 2)


@pytest.fixture
def data(tmp_path):
    return gathered(tmp_path / "data")


@pytest.fixture
def run(data, tmp_path):
    out = tmp_path / "measures" / "student.json"
    answers = write_answers(tmp_path / "answers.jsonl", "student", TEXTS)

    def call(*words):
        common = ["--dialogues", data / "test.jsonl", "--out", out]
        return distill("eval", "measure", answers, *common, *words)

    call.out, call.answers = out, answers
    return call


def test_replies_are_measured_and_every_number_says_what_it_is_not(run, data, tmp_path):
    sets = write_lines(tmp_path / "sft.jsonl", [{"messages": [{"content": TEXTS[0]}]}])
    done = run("--data", data, "--reference", "plain", "--training", sets, "--json")
    assert done.returncode == 0, done.stderr
    told, written = json.loads(done.stdout), json.loads(run.out.read_text())
    assert written.items() <= told.items() and told["out"] == str(run.out)
    assert (told["candidate"], told["artifact_sha256"]) == ("student", "student")
    assert told["answers_sha256"] == sha256_of(run.answers) and told["count"] == TEST
    found = {one["name"]: one for one in told["measures"]}
    assert found["copied_whole"]["value"] == 0.5 and found["rouge_l"]["over"] == TEST
    assert found["words"]["interval"] and found["words"]["interval_method"] == "bca"
    assert all(one["is_not"] for one in told["measures"])
    assert told["absent"]["epitome"] == "not measured: it needs --epitome"


def test_without_references_only_the_form_is_measured(run):
    shown = run().stdout
    assert "repetition: a run of four words" in shown and "it is not a count of phrases" in shown
    assert "bleu: not measured: it needs --data and --reference" in shown
    told = json.loads(run.out.read_text())
    assert {one["name"] for one in told["measures"]} == {
        *("words", "repetition", "cut_off", "empty", "distinct_1", "distinct_2")
    }
    assert told["reference"] is None and told["data_sha256"] == {}


def test_what_cannot_be_measured_is_refused(run, data):
    line = error_line(run("--data", data, "--reference", "human"))
    assert (
        "no response of the author or strategy 'human'; give --reference one of: improved" in line
    )
    assert "belong together" in error_line(run("--data", data))
    alone = [one for one in lines_of(data / "responses.jsonl") if one["dialogue_id"][0] == "t"]
    write_lines(data / "responses.jsonl", alone)
    line = error_line(run("--data", data, "--reference", "improved"))
    assert "none of the dialogues has a response by improved" in line
    write_answers(run.answers, "student", [*TEXTS, "One more."])
    assert "1 answers have no dialogue in" in error_line(run())
    assert not run.out.exists()


def test_a_student_finds_a_reply_as_likely_as_cross_entropy_says(tiny_folder, data):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dialogue = read_jsonl(data / "test.jsonl", Dialogue)[0]
    with opened_likelihood(str(tiny_folder)) as (sha256, likely):
        nats, tokens = likely(dialogue, TEXTS[0])
    student = AutoModelForCausalLM.from_pretrained(tiny_folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    prompt = tokenizer.apply_chat_template(
        dialogue.messages(), tokenize=False, add_generation_prompt=True
    )
    asked, said = (tokenizer(t, add_special_tokens=False).input_ids for t in (prompt, TEXTS[0]))
    ids = torch.tensor([[*asked, *said]])
    labels = torch.tensor([[*[-100] * len(asked), *said]])
    with torch.inference_mode():
        loss = student(input_ids=ids, labels=labels).loss
    assert sha256 == sha256_of(tiny_folder) and tokens == len(said)
    assert -nats / tokens == pytest.approx(float(loss), rel=1e-4)


def test_a_file_finds_the_same_replies_as_likely_as_its_checkpoint(tiny_folder, tiny_gguf, data):
    dialogues = read_jsonl(data / "test.jsonl", Dialogue)[:2]
    found = []
    for student in (tiny_folder, tiny_gguf):
        with opened_likelihood(str(student)) as (_, likely):
            found.append([likely(d, t) for d, t in zip(dialogues, TEXTS, strict=False)])
    for (mine, tokens), (theirs, same) in zip(*found, strict=True):
        assert tokens == same and mine == pytest.approx(theirs, rel=2e-3)


@pytest.mark.parametrize(("busy", "cores"), [(0.4, 4), (2.9, 2), (11.0, 1), (None, 4)])
def test_a_busy_machine_lends_only_the_cores_that_are_free(monkeypatch, busy, cores):
    monkeypatch.setattr(likelihood, "physical_cores", lambda: 4)
    monkeypatch.setattr(likelihood, "load", lambda: busy)
    assert likelihood.spare_cores() == cores


def test_perplexity_is_of_all_tokens_and_bits_are_of_all_bytes(tiny_folder, data):
    answers = material(data, TEXTS, student=str(tiny_folder))
    with pytest.raises(BadInput, match=r"did not give the answers in .*; name the one that did"):
        perplexity.figures(answers)
    lines = lines_of(data / "answers.jsonl")
    own = [one | {"artifact_sha256": sha256_of(tiny_folder)} for one in lines]
    given = replace(answers, answers=read_answers(write_lines(data / "answers.jsonl", own)))
    by_token, by_byte = perplexity.figures(given)
    with opened_likelihood(str(tiny_folder)) as (_, likely):
        parts = [(*likely(d, r[0]), len(r[0].encode())) for d, _, r in given.references]
    nats, tokens, size = (sum(column) for column in zip(*parts, strict=True))
    assert by_token.value == pytest.approx(math.exp(-nats / tokens), rel=1e-3)
    assert by_byte.value == pytest.approx(-nats / math.log(2) / size, rel=1e-3)
    assert by_byte.interval[0] <= by_byte.value <= by_byte.interval[1]


def test_a_student_without_probabilities_or_room_is_refused(
    tiny_folder, data, tmp_path, monkeypatch
):
    dialogue = read_jsonl(data / "test.jsonl", Dialogue)[0]
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "genai_config.json").write_text("{}")
    for student in ("http://127.0.0.1:9/v1", str(tmp_path / "onnx")):
        with pytest.raises(Unsupported, match="tells no probabilities of a given text"):
            opened_likelihood(student)
    with (
        opened_likelihood(str(tiny_folder)) as (_, likely),
        pytest.raises(BadInput, match="and the student holds"),
    ):
        likely(dialogue, "so " * 3000)
    monkeypatch.setattr(likelihood.importlib.util, "find_spec", lambda name: None)
    path = tmp_path / "student.gguf"
    path.write_bytes(b"GGUF")
    with pytest.raises(MissingExtra, match="needs llama-cpp-python"):
        opened_likelihood(str(path)).__enter__()
