"""The real command line in a process of its own."""

import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent


def export(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `distill export WORDS`."""
    line = [sys.executable, "-m", "distill", "export", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT, **options)


def one_line(done: "subprocess.CompletedProcess[str]") -> str:
    """The only line of an error."""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0]


def left_behind(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*")) if folder.exists() else []
