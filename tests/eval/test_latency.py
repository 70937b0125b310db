"""`distill eval latency` through the command line, on the project's own runtime."""

import json

import pytest

from distill.core.chat import Reply
from distill.core.jsonl import sha256_of
from eval.latency import figures
from eval.machine import memory_of
from tests.eval.pairs import distill, error_line, write_dialogues


@pytest.fixture
def time_it(tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    out = tmp_path / "latency.json"

    def run(file, *words):
        words = ["--dialogues", dialogues, "--out", out, "--max-tokens", 8, *words]
        return distill("eval", "latency", file, *words)

    run.out, run.dialogues = out, dialogues
    return run


def test_a_served_file_is_timed_and_weighed(time_it, tiny_gguf):
    done = time_it(tiny_gguf, "--threads", 1, "--limit", 3, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["artifact_sha256"] == sha256_of(tiny_gguf)
    assert found["size_bytes"] == tiny_gguf.stat().st_size
    assert found["peak_memory_bytes"] > found["size_bytes"]
    assert 0 < found["first_token_s"] <= found["first_token_p95_s"]
    assert found["tokens_per_s"] is None or found["tokens_per_s"] > 0
    assert (found["prompts"], found["threads"]) == (3, 1)
    assert found["machine"]["processor"] and found["machine"]["memory_bytes"]
    assert json.loads(time_it.out.read_text()).items() <= found.items()


def test_text_for_people_says_what_was_measured(time_it, tiny_gguf):
    done = time_it(tiny_gguf, "--limit", 1)
    assert "first token" in done.stdout and "peak memory" in done.stdout


def reply(tokens, wait, speed):
    return Reply("", "m", "stop", tokens, wait, speed, prompt_tokens=5)


def test_a_reply_of_one_token_has_no_speed():
    assert figures([reply(1, 0.1, 10.0)])["tokens_per_s"] is None
    found = figures([reply(1, 0.1, 10.0), reply(3, 0.3, 20.0), reply(3, 0.2, 40.0)])
    assert (found["first_token_s"], found["tokens_per_s"]) == (0.2, 30.0)


def test_memory_says_where_its_number_is_from(tmp_path):
    import os

    folder = tmp_path / "7"
    folder.mkdir()
    (folder / "status").write_text("VmHWM:\t  2048 kB\nRssAnon:\t 4 kB\nRssFile:\t8 kB\n")
    found = memory_of(7, tmp_path)
    assert found["peak_memory_bytes"] == 2048 * 1024 and "VmHWM" in found["peak_memory_source"]
    assert memory_of(os.getpid(), tmp_path / "none")["peak_memory_bytes"] > 0


def test_files_that_cannot_be_measured_are_refused(time_it, tmp_path):
    assert "does not exist" in error_line(time_it(tmp_path / "none.gguf"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    assert "did not start" in error_line(time_it(broken))
    assert not time_it.out.exists()
    time_it.dialogues.write_text("")
    assert "holds no dialogues" in error_line(time_it(broken))
