"""The proof on ARM64, as far as a machine without the emulator can tell."""

import io
import json
import sys

import numpy as np
import pytest

import runtime
from distill.core.errors import CheckFailed, MissingInput, Unavailable
from tests.benchmarks import arm64, arm64_userland
from tests.benchmarks.arm64_replies import answer

MESSAGES = [{"role": "user", "content": "I lost my job today."}]


def told(*replies, penalty=1.0):
    made = [{"prompt": [1], "tokens": list(tokens)} for tokens in replies]
    return {"replies": made, "penalty": penalty}


def rows(*logits):
    return np.array(logits, np.float32)


@pytest.mark.parametrize("which", ["tiny_gguf", "tiny_onnx"])
def test_replies_are_those_of_the_runtime(which, request, monkeypatch, capsys, tmp_path):
    from tests.benchmarks import arm64_replies

    file = request.getfixturevalue(which)
    asked = json.dumps({"conversations": [MESSAGES], "tokens": 8})
    monkeypatch.setattr(sys, "stdin", io.StringIO(asked))
    arm64_replies.main(file, tmp_path / "rows")
    found = json.loads(capsys.readouterr().out)
    with runtime.load(file, threads=1) as engine:
        pieces = list(engine.chat(MESSAGES, temperature=0, max_tokens=8, logprobs=1))
        assert found["replies"][0]["prompt"] == engine.prompt_ids(MESSAGES)
    chosen = [choice.chosen.token for piece in pieces for choice in piece.choices]
    tokens = found["replies"][0]["tokens"]
    assert tokens[: len(chosen)] == chosen and len(tokens) - len(chosen) in (0, 1)
    assert found["text"] == "".join(piece.text for piece in pieces)
    logits_TV = np.fromfile(tmp_path / "rows", np.float32).reshape(-1, found["vocabulary"])
    assert len(logits_TV) == len(tokens) and found["peak_bytes"] > 2**20


def test_a_prompt_longer_than_a_chunk_is_read_whole(tiny_gguf):
    long = [{"role": "user", "content": "I lost my job today. " * 60}]
    with runtime.load(tiny_gguf, threads=1) as engine:
        assert len(engine.prompt_ids(long)) > engine.backend.chunk
        found = answer(engine, long, 4, io.BytesIO())
        pieces = engine.chat(long, temperature=0, max_tokens=4, logprobs=1)
        chosen = [choice.chosen.token for piece in pieces for choice in piece.choices]
    assert found["tokens"][: len(chosen)] == chosen


def test_equal_replies_do_not_differ():
    logits = rows([0, 2, 1], [3, 0, 0])
    found = arm64.compared(told([1, 0]), logits, told([1, 0]), logits)
    assert found.partings == [] and found.agreement == 1 and found.sound
    assert found.divergences == pytest.approx([0, 0])


def test_a_parting_ends_the_comparison_and_tells_the_gap():
    here, there = told([1, 0, 2], [2]), told([1, 1], [2])
    logits = rows([0, 2, 1], [3, 2.5, 0], [0, 0, 9], [0, 0, 5])
    other = rows([0, 2, 1], [2.7, 2.8, 0], [0, 0, 5])
    found = arm64.compared(here, logits, there, other)
    assert found.partings == [arm64.Parting(0, 1, 0.5)]
    assert len(found.divergences) == 3 and found.agreement == pytest.approx(2 / 3)
    assert not found.sound


def test_the_gap_is_that_of_logits_after_penalties():
    here, there = told([0, 1], penalty=2.0), told([0, 2], penalty=2.0)
    logits = rows([9, 0, 0], [4, 3, 2.75])
    (parting,) = arm64.compared(here, logits, there, logits).partings
    assert parting.gap == pytest.approx(0.25)
    assert arm64.penalized(logits[1], [0], 2.0) == pytest.approx([2, 3, 2.75])


def test_other_prompts_are_no_comparison():
    there = told([1])
    there["replies"][0]["prompt"] = [2]
    with pytest.raises(CheckFailed, match="prompt 0 becomes other tokens"):
        arm64.compared(told([1]), rows([0, 1]), there, rows([0, 1]))


def test_divergence_is_that_of_the_formula():
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    expected = float((p * np.log(p / q)).sum())
    assert arm64.divergence(rows(*np.log(p)), rows(*np.log(q)) + 3) == pytest.approx(expected)


def test_a_file_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(CheckFailed, match=r"absent.gguf does not answer .*does not exist"):
        asked = json.dumps({"conversations": [MESSAGES], "tokens": 1})
        arm64.replies([sys.executable], tmp_path / "absent.gguf", tmp_path / "rows", asked)


def test_what_is_missing_is_told_in_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingInput, match="apt-get install qemu-user g"):
        arm64_userland.ready(tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", ["arm64", str(tmp_path / "file.gguf")])
    with pytest.raises(SystemExit, match="2"):
        arm64.main()
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "cache").exists()


def test_a_step_that_fails_tells_its_last_words():
    fails = [sys.executable, "-c", "raise SystemExit('no route')"]
    with pytest.raises(Unavailable, match="no route"):
        arm64_userland.run(fails)


def test_parts_appear_only_when_they_are_whole(monkeypatch, tmp_path):
    def make(work, _):
        (work / "begun").touch()

    def fail(work, made):
        make(work, made)
        raise Unavailable("the network is away")

    monkeypatch.setattr(arm64_userland, "refuse_without_tools", lambda: None)
    monkeypatch.setattr(arm64_userland, "debian", make)
    monkeypatch.setattr(arm64_userland, "wheels", fail)
    with pytest.raises(Unavailable):
        arm64_userland.ready(tmp_path)
    made = arm64_userland.Userland(tmp_path)
    assert (made.root / "begun").exists() and not made.site.exists()


def test_of_the_source_only_the_library_and_its_binding_are_unpacked():
    wanted = ["llama_cpp/llama.py", "vendor/llama.cpp/ggml/src/ggml.c", "vendor/llama.cpp/LICENSE"]
    unwanted = ["README.md", "vendor/llama.cpp/tools/x.cpp", "docs/vendor/llama.cpp/src/x"]
    assert all(arm64_userland.needed(f"llama_cpp_python-0.3.36/{name}") for name in wanted)
    assert not any(arm64_userland.needed(f"llama_cpp_python-0.3.36/{name}") for name in unwanted)
