"""`distill eval latency` through the command line, on the project's own runtime."""

import csv
import json

import pytest

from distill.core.jsonl import sha256_of
from distill.core.machine import physical_cores
from tests.eval.pairs import distill, error_line, write_dialogues

QUICK = ["--length", 16, "--length", 48, "--repeats", 2, "--decode-tokens", 6, "--loads", 1]


@pytest.fixture
def time_it(tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    out = tmp_path / "latency.json"

    def run(file, *words):
        words = ["--dialogues", dialogues, "--out", out, "--max-tokens", 8, *QUICK, *words]
        return distill("eval", "latency", file, *words)

    run.out, run.dialogues = out, dialogues
    return run


def test_a_served_file_is_timed_and_weighed(time_it, tiny_gguf):
    done = time_it(tiny_gguf, "--threads", 1, "--limit", 3, "--loads", 2, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["artifact_sha256"] == sha256_of(tiny_gguf) and found["format"] == "gguf"
    assert found["size_bytes"] == tiny_gguf.stat().st_size
    assert found["peak_memory_bytes"] > found["size_bytes"]
    assert 0 < found["first_token_s"] <= found["first_token_p95_s"]
    assert found["tokens_per_s"] is None or found["tokens_per_s"] > 0
    assert (found["prompts"], found["threads"], found["load"]["servers"]) == (3, 1, 2)
    assert found["load"]["start_s"]["low"] <= found["load"]["start_s"]["high"]
    assert found["machine"]["processor"] and found["machine"]["memory_bytes"]
    assert json.loads(time_it.out.read_text()).items() <= found.items()
    private, mapped = found["private_bytes"], found["file_backed_bytes"]
    assert max(private, mapped) < found["peak_memory_bytes"] <= private + mapped
    assert [row["prompt_tokens"] for row in found["lengths"]] == pytest.approx([16, 48], abs=2)
    for row in found["lengths"]:
        assert row["prefill_tokens_per_s"]["low"] <= row["prefill_tokens_per_s"]["median"]
        assert row["bench"][0]["test"] == f"pp{row['length']}"
    assert time_it.out.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(time_it.out.with_suffix(".csv").read_text().splitlines()))
    assert {row["artifact_sha256"] for row in rows} == {found["artifact_sha256"]}
    assert [row["kind"] for row in rows].count("prefill") == 4 and len(found["replies"]) == 3
    new = [row for row in rows if row["kind"] == "prefill"]
    assert all(int(row["cached_tokens"]) < 8 for row in new), "a prompt was in the cache"


def test_an_onnx_folder_is_timed_on_the_machine_of_a_profile(time_it, tiny_onnx):
    done = time_it(tiny_onnx, "--limit", 1, "--profile", "phone-4gb", "--length", 2000, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["artifact_sha256"] == sha256_of(tiny_onnx) and found["format"] == "onnx"
    assert found["profile"] == "phone-4gb" and found["threads"] <= 2
    assert "prompts of 2000 tokens are left out" in done.stderr
    assert [row["length"] for row in found["lengths"]] == [16, 48]


def test_what_cannot_be_measured_is_refused(time_it, tmp_path):
    assert "does not exist" in error_line(time_it(tmp_path / "none.gguf"))
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    assert "did not start" in error_line(time_it(broken))
    assert not time_it.out.exists()
    many = physical_cores() + 1
    assert f"may use {physical_cores()} cores" in error_line(time_it(broken, "--threads", many))
    both = time_it(broken, "--threads", 1, "--profile", "phone-6gb")
    assert "leave out --threads or --profile" in error_line(both)
    time_it.dialogues.write_text("")
    assert "holds no dialogues" in error_line(time_it(broken))
