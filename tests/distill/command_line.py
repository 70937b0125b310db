"""The real command line in a subprocess."""

import json
import subprocess
import sys
from pathlib import Path


def distill(*words: object) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "distill", *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, cwd=Path(__file__).parents[2])


def outcome(*words: object) -> dict:
    done = distill(*words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(*words: object, exit_code: int = 2) -> str:
    """Standard error of a command that refuses; it names no traceback."""
    done = distill(*words)
    assert done.returncode == exit_code, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr.strip()
