"""What the pages say is so: commands parse, links lead somewhere, files and tests are there."""

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from unittest.mock import patch

import pytest

from distill.cli import COMMANDS
from distill.core.command import every_command, main

ROOT = Path(__file__).parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", *DOCS]
BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
LINE = re.compile(r"^(?:\$ )?(?:\.venv/bin/)?distill (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
TOC = re.compile(r"```\{toctree\}\n(.*?)```", re.DOTALL)
NAMED = re.compile(r"`((?:distill|export|runtime|eval|demo|tests|docs)/[\w./-]+)(?:::(\w+))?`")
BENCHMARK = re.compile(r"python (?:-m )?tests[./]benchmarks[./](\w+)")

PACKAGES = ("distill", "export", "runtime", "eval", "demo")
FOR_PROGRAMS = {"eval scoring learn-caring", "runtime describe"}


def text_of(page):
    return page.read_text("utf-8")


def commands():
    blocks = [text for page in PAGES for kind, text in BLOCK.findall(text_of(page)) if kind == "sh"]
    return sorted({line for block in blocks for line in LINE.findall(block)})


def helped(words):
    """Exit code, standard output and standard error of `distill WORDS --help`."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["distill", *words, "--help"]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main("distill", "", COMMANDS)
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


@pytest.mark.parametrize("line", commands())
def test_a_documented_command_parses(line):
    code, out, err = helped(shlex.split(line, comments=True))
    assert code == 0, err
    assert "Usage:" in out or line == "--version"


def test_every_verb_is_shown_at_work_on_some_page():
    shown = " ".join(f"distill {line} " for line in commands())
    verbs = {words for words, loaded in every_command(COMMANDS) if not hasattr(loaded, "table")}
    unseen = {words for words in verbs if f"distill {words} " not in shown}
    assert unseen <= FOR_PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_and_names_is_there(page):
    text = text_of(page)
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), target
    for name, test in NAMED.findall(text):
        assert (ROOT / name).exists(), name
        assert not test or f"def {test}(" in (ROOT / name).read_text("utf-8"), test
    for name in BENCHMARK.findall(text):
        assert (ROOT / f"tests/benchmarks/{name}.py").exists(), name


def test_code_that_a_page_quotes_from_a_file_stands_there():
    found = 0
    for page in PAGES:
        for _, block in BLOCK.findall(text_of(page)):
            first, *quoted = [line.strip() for line in block.strip().splitlines()] or [""]
            if (name := first.removeprefix("# ")).endswith(".py") and (ROOT / name).exists():
                source = [line.strip() for line in (ROOT / name).read_text("utf-8").splitlines()]
                assert set(quoted) <= set(source), (page.name, name)
                found += 1
    assert found >= 5


def test_every_page_is_reached_from_the_index():
    reached, waiting = set(), [ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        listed = [line for toc in TOC.findall(text_of(page)) for line in toc.splitlines()]
        names = [f"{line}.md" for line in listed if re.fullmatch(r"\w+", line)]
        targets = [page.parent / name for name in [*names, *LINK.findall(text_of(page))]]
        waiting += [one.resolve() for one in targets if one.resolve() in DOCS]
    assert reached == set(DOCS)


def test_the_container_starts_a_command_that_parses_from_files_that_are_there():
    lines = text_of(ROOT / "Dockerfile").splitlines()
    told = {line.split(" ", 1)[0]: line.split(" ", 1)[-1] for line in lines}
    program, *words = json.loads(told["ENTRYPOINT"])
    assert program.endswith("/bin/distill")
    code, _, err = helped([*words, *json.loads(told["CMD"])])
    assert code == 0, err
    sent = [line[1:] for line in text_of(ROOT / ".dockerignore").splitlines() if line[0] == "!"]
    assert set(PACKAGES) <= set(sent) and all((ROOT / name).exists() for name in sent)


def test_every_extra_is_told_where_one_installs():
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]
    told = set(re.findall(r"^\| `(\w+)` \|", text_of(ROOT / "docs/install.md"), re.MULTILINE))
    assert told == set(project["optional-dependencies"]) - {"dev", "docs"}


def test_make_is_asked_for_what_it_has():
    targets = set(re.findall(r"^([\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for page in PAGES:
        text = text_of(page)
        code = [block for _, block in BLOCK.findall(text)] + re.findall(r"`([^`\n]+)`", text)
        asked = re.findall(r"(?:^|\n)make ([\w-]+)", "\n".join(code))
        assert set(asked) <= targets, page.name


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it; a warning is an error."""
    pytest.importorskip("sphinx", reason="needs the extra docs")
    out = tmp_path_factory.mktemp("site")
    argv = ["-q", "-W", "--keep-going", str(ROOT / "docs"), str(out), "-d", str(out / ".read")]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *argv], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_every_command_and_every_public_name(site):
    shown = (site / "commands.html").read_text("utf-8")
    for words, _ in every_command(COMMANDS):
        assert f">distill {words}<" in shown, words
    names = (site / "api.html").read_text("utf-8")
    assert "runtime.load" in names and "fused_linear_reverse_kl" in names


def test_the_site_needs_no_network(site):
    loaded = re.compile(r"<(?:script|img|link)[^>]+(?:src|href)=\"(?:https?:)?//[^\"]+\"")
    for page in site.rglob("*.html"):
        found = [one for one in loaded.findall(page.read_text("utf-8")) if "canonical" not in one]
        assert not found, (page.name, found)
