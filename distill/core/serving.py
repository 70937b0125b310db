"""The runtime as a child process: `python -m runtime serve FILE`, for as long as a block runs.

In: an exported file. Out: its base URL, model name and process id. Refused: a file that the
runtime refuses, or a server that is not up in time (Unavailable, with its last line).
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import Unavailable
from distill.core.jsonl import existing

START_S = 120.0
STOP_S = 10.0
SERVER_KEYS = ("KINDRED_API_KEY", "LLAMA_API_KEY")
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Served:
    url: str
    model: str
    pid: int


@contextmanager
def served(
    artifact: Path,
    *,
    threads: int | None = None,
    profile: str | None = None,
    guard: bool = True,
    guard_locale: str | None = None,
    start_s: float = START_S,
) -> Iterator[Served]:
    """Serve a file on a free loopback port, held to a device profile if one is named.

    `guard_locale` says whose help lines its guard names; without `guard` the student speaks alone.
    The server ends with the block.
    """
    argv = [sys.executable, "-m", "runtime", "serve", str(existing(artifact)), "--port", "0"]
    argv += ["--json", *(["--threads", str(threads)] if threads else [])]
    argv += ["--device-profile", profile] if profile else []
    argv += ["--guard-locale", guard_locale] if guard_locale else []
    argv += [] if guard else ["--guard", "off"]
    # A key in the environment is for servers that others reach; this one is reached by us alone.
    environment = {key: value for key, value in os.environ.items() if key not in SERVER_KEYS}
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as remarks,
        subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=remarks,
            text=True,
            env=environment,
            preexec_fn=ends_with_its_parent(),
        ) as process,
    ):
        try:
            found = first_object(process, start_s)
            if "url" not in found:
                reason = found.get("error") or last_line(remarks) or "it said nothing"
                raise Unavailable(f"the server did not start for {artifact}: {reason}")
            yield Served(found["url"], found["model"], found["pid"])
        finally:
            stop(process)


def ends_with_its_parent() -> Callable[[], object] | None:
    """On Linux, what makes the kernel stop the server even when this process is killed."""
    if sys.platform != "linux":
        return None
    control = ctypes.CDLL(None).prctl
    return lambda: control(PR_SET_PDEATHSIG, signal.SIGTERM)


def first_object(process: "subprocess.Popen[str]", start_s: float) -> dict[str, Any]:
    """The line with which the server says where it is; empty when it ends or is too late."""
    assert process.stdout
    late = threading.Timer(start_s, process.kill)
    late.start()
    try:
        line = process.stdout.readline()
    finally:
        late.cancel()
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def last_line(remarks: Any) -> str:
    remarks.seek(0)
    lines = [line for line in remarks.read().splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else ""


def stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
