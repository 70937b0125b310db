"""The command line of the export: in this process, or in one of its own where that matters."""

import io
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from distill import cli

ROOT = Path(__file__).parent.parent.parent


def export(*words: object) -> "subprocess.CompletedProcess[str]":
    """What `distill export WORDS` prints and returns; torch is loaded once for all of them."""
    line = ["distill", "export", *map(str, words)]
    out, err, code = io.StringIO(), io.StringIO(), None
    before, sys.argv = sys.argv, line
    try:
        with redirect_stdout(out), redirect_stderr(err):
            cli.run()
    except SystemExit as ended:
        code = ended.code
    finally:
        sys.argv = before
    assert isinstance(code, int), "a command line ends with a code"
    return subprocess.CompletedProcess(line, code, out.getvalue(), err.getvalue())


def export_process(*words: object, **options: Any) -> "subprocess.CompletedProcess[str]":
    """The same in a process of its own, as a shell starts it."""
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
