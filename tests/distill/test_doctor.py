"""The doctor: what it finds is what is there, and a key's value is never printed."""

import json
from types import SimpleNamespace

import pytest

from distill import doctor
from distill.checkup import machine, packages
from distill.checkup.check import Check
from distill.core.command import show
from tests.distill.command_line import distill

LINES = [
    "pydantic>=2.11",
    'torch>=2.9; extra == "train"',
    'datasets>=4; extra == "train"',
    'gradio>=6; extra == "demo"',
    'kindred-slm[train,demo]; extra == "all"',
    'ruff>=0.14; extra == "dev"',
]


def test_extras_are_read_from_the_metadata_of_the_package():
    found = packages.extras(LINES)
    assert found == {"train": [("torch", "2.9"), ("datasets", "4")], "demo": [("gradio", "6")]}


def test_what_is_absent_or_too_old_is_named_with_the_line_that_installs_it():
    have = {"torch": "2.13.0+cpu", "datasets": "3.9.1"}
    train, demo = packages.check_extras(packages.extras(LINES), have.get)
    assert (train.state, train.found) == ("missing", "datasets 3.9.1 is older than 4")
    assert train.remedy == "pip install 'kindred-slm[train]'"
    assert (demo.state, demo.found) == ("absent", "not installed: gradio")
    good, _ = packages.check_extras(packages.extras(LINES), {**have, "datasets": "4.0"}.get)
    assert (good.state, good.remedy) == ("ok", "")


def test_a_library_that_does_not_load_says_why_and_ends_no_one():
    answers = {"torch": {"error": "libcudart.so.12: cannot open"}, "llama_cpp": {"version": "1"}}
    said = packages.load_natives(answers.get, {"torch": "2", "llama-cpp-python": "1"}.get)
    assert said == answers
    torch, llama = packages.check_natives(said)
    assert torch.state == "missing" and "libcudart" in torch.found
    assert torch.remedy == "pip install --force-reinstall --no-deps torch"
    assert (llama.state, llama.found) == ("ok", "llama-cpp-python 1")


def test_a_library_is_loaded_in_a_process_of_its_own(monkeypatch):
    monkeypatch.setitem(packages.NATIVE, "fine", "print(json.dumps({'version': '1'}))")
    monkeypatch.setitem(packages.NATIVE, "broken", "raise ImportError('no such symbol')")
    monkeypatch.setitem(packages.NATIVE, "fatal", "import os; os._exit(11)")
    monkeypatch.setitem(packages.NATIVE, "slow", "import time; time.sleep(60)")
    assert packages.loaded("fine") == {"version": "1"}
    assert packages.loaded("broken") == {"error": "ImportError: no such symbol"}
    assert packages.loaded("fatal") == {"error": "ended with code 11"}
    monkeypatch.setattr(packages, "LOAD_S", 0.1)
    assert packages.loaded("slow") == {"error": "did not load within 0.1 s"}


def test_the_processor_is_described_as_the_system_tells(tmp_path):
    (tmp_path / "cpuinfo").write_text("model name\t: Fast One\nflags\t\t: fpu avx2 fma sse9\n")
    check = machine.check_processor(tmp_path)
    assert check.found.startswith("Fast One; ") and check.found.endswith("; avx2 fma")
    assert "features not known" in machine.check_processor(tmp_path / "nowhere").found


def test_the_limit_of_a_container_is_the_memory(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 500000 kB\n")
    (tmp_path / "memory.max").write_text("1500000000\n")
    check = machine.check_memory(tmp_path, tmp_path)
    assert (check.state, check.found) == ("missing", "1.5 GB, 0.5 GB available now")
    assert "2 GB" in check.remedy
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.check_memory(tmp_path, tmp_path).found != check.found


def test_a_full_disk_is_told_before_the_walk(tmp_path, monkeypatch):
    assert machine.check_disk(tmp_path / "not/yet/there").state == "ok"
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000_000))
    check = machine.check_disk(tmp_path)
    assert check.state == "missing" and "0.0 GB free" in check.found


def test_a_gpu_is_what_torch_can_use(monkeypatch):
    assert machine.check_gpu({"gpus": ["H100, 80 GiB"]}).found == "H100, 80 GiB"
    assert "Metal" in machine.check_gpu({"gpus": [], "metal": True}).found
    monkeypatch.setattr(machine.shutil, "which", lambda name: f"/bin/{name}")
    useless = machine.check_gpu({"version": "2.13.0+cpu", "gpus": []})
    assert useless.state == "absent" and "CUDA build" in useless.remedy
    monkeypatch.setattr(machine.shutil, "which", lambda name: None)
    assert machine.check_gpu({}).found.startswith("none")


def test_of_a_key_only_its_presence_is_told():
    checks = machine.check_keys({"GOOGLE_API_KEY": "very-secret", "OPENAI_API_KEY": ""})
    told = {check.name: check.state for check in checks}
    assert told["key GOOGLE_API_KEY"] == "ok" and told["key OPENAI_API_KEY"] == "absent"
    assert "very-secret" not in repr(checks)


@pytest.mark.parametrize(("state", "code"), [("missing", 1), ("absent", 0)])
def test_only_what_the_walk_needs_fails_the_command(state, code, monkeypatch, capsys):
    found = [Check("moon", state, "[red] not here", "fly there")]
    monkeypatch.setattr(doctor, "examine", lambda: found)
    outcome = doctor.run.__wrapped__()
    assert outcome.exit_code == code
    assert outcome.data["ready"] is (code == 0)
    show(outcome.text)
    printed = capsys.readouterr().out
    assert "[red] not here" in printed and "-> fly there" in printed
    assert ("cannot run yet: moon" in printed) is (code == 1)


def test_the_command_looks_at_this_machine(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-do-not-print")
    done = distill("doctor", "--json")
    data = json.loads(done.stdout)
    assert done.returncode == (0 if data["ready"] else 1)
    states = {check["name"]: check["state"] for check in data["checks"]}
    assert states["loads llama_cpp"] == states["key OPENAI_API_KEY"] == "ok"
    assert "sk-do-not-print" not in done.stdout + done.stderr
