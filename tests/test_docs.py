"""Every command in the README and the docs is one that the command line knows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINE = re.compile(r"^(?:\.venv/bin/)?distill (.+)$", re.MULTILINE)
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)


def commands():
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text("utf-8"))]
    return sorted({line for block in blocks for line in LINE.findall(block)})


@pytest.mark.parametrize("line", commands())
def test_a_documented_command_parses(line):
    argv = [sys.executable, "-m", "distill", *shlex.split(line, comments=True), "--help"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_links_of_the_pages_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
