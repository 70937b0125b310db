"""Serving as on a phone: threads and memory of the process are capped, or the file is refused."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from distill.core.errors import BadInput, MissingInput, Unavailable
from distill.core.machine import physical_cores
from runtime.device import NAMES, hold_to, read_profile
from tests.runtime.serving import Serving

PROFILE = "says: a toy\nthreads: 1\nmemory_mb: {}\ncontext: 64\nparallel: 1\n"
FIRST = [{"role": "user", "content": "hi"}]


def file_of(path, size_bytes):
    path.touch()
    os.truncate(path, size_bytes)  # a hole: it takes no room on the disk
    return path


def test_the_bundled_profiles_are_those_of_the_design():
    found = {name: read_profile(name) for name in NAMES}
    assert {name: (p.threads, p.memory_mb) for name, p in found.items()} == {
        "phone-4gb": (2, 1024),
        "phone-6gb": (4, 2048),
        "phone-8gb": (4, 3072),
        "laptop": (None, 6144),
    }
    assert found["laptop"].cores() == physical_cores()


def test_what_the_room_of_a_profile_holds_is_served_and_a_byte_more_is_not(tmp_path, monkeypatch):
    caps = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limits: caps.append(limits))
    monkeypatch.setattr("os.sched_setaffinity", lambda process, cores: None)
    profile = read_profile("phone-4gb")
    hold_to(profile, file_of(tmp_path / "fits.gguf", profile.room_bytes))
    assert caps == [(256 * 2**20, 256 * 2**20)]
    with pytest.raises(BadInput, match="or choose another profile"):
        hold_to(profile, file_of(tmp_path / "large.gguf", profile.room_bytes + 1))


def test_a_server_keeps_within_its_profile(tiny_gguf, tmp_path):
    profile = tmp_path / "toy.yaml"
    profile.write_text(PROFILE.format(600))
    with Serving(tiny_gguf, tmp_path / "log", "--device-profile", str(profile)) as server:
        process = psutil.Process(server.ready["pid"])
        assert len(process.cpu_affinity()) == 1
        soft, hard = process.rlimit(psutil.RLIMIT_DATA)
        assert soft == hard == (600 * 2**20 - tiny_gguf.stat().st_size)
        answer = server.post({"model": "tiny-F16", "messages": FIRST, "max_tokens": 3})
        assert answer.status_code == 200
        long = [{"role": "user", "content": "word " * 70}]
        refused = server.post({"model": "tiny-F16", "messages": long}).json()["error"]
        assert "the context holds 64" in refused["message"]
    assert "held to a toy: 1 threads, 600 MB" in (tmp_path / "log").read_text()


def test_memory_beyond_the_profile_cannot_be_had(tiny_gguf, tmp_path):
    profile = tmp_path / "toy.yaml"
    profile.write_text(PROFILE.format(300))
    code = (
        "from pathlib import Path; from runtime.device import hold_to, read_profile\n"
        f"hold_to(read_profile({str(profile)!r}), Path({str(tiny_gguf)!r}))\n"
        "bytearray(400 * 2**20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr.endswith("MemoryError\n")


def test_a_file_that_cannot_fit_is_refused_before_any_cap(tmp_path):
    file = file_of(tmp_path / "large.gguf", 900 * 2**20)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(BadInput, match="takes 900 MB, and of the profile's 1024 MB 256 are"):
        hold_to(read_profile("phone-4gb"), file)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_a_system_without_limits_says_so(monkeypatch, tiny_gguf):
    monkeypatch.delattr(os, "sched_setaffinity")
    with pytest.raises(Unavailable, match="cannot hold a process to a device profile"):
        hold_to(read_profile("laptop"), tiny_gguf)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("says: x", "memory_mb: Field required"),
        (PROFILE.format(100), "greater than or equal to 256"),
        (PROFILE.format(600) + "speed: 3\n", "speed: Extra inputs are not permitted"),
        ("a: [", "it is not YAML"),
        ("", "valid dictionary"),
    ],
)
def test_a_broken_profile_is_one_line(tmp_path, text, reason):
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=reason):
        read_profile(str(path))


def test_a_profile_that_is_not_there_is_named():
    with pytest.raises(BadInput, match="there is no profile phone-1gb; use phone-4gb"):
        read_profile("phone-1gb")
    with pytest.raises(MissingInput, match="is no file"):
        read_profile(str(Path("missing.yaml")))
