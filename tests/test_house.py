"""The house rules that a machine can check: imports, start-up, sizes, names, help."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("distill", "export", "runtime", "eval", "demo")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
FORBIDDEN_NAMES = {"utils", "helpers", "misc", "manager", "base", "common"}
HEAVY = ("torch", "transformers", "trl", "peft", "llama_cpp", "gradio", "sklearn", "matplotlib")


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_packages_meet_on_disk_and_not_by_import(path):
    mine = path.relative_to(ROOT).parts[0]
    allowed = {mine} | ({"runtime"} if mine == "export" else set())
    for name in imported(ast.parse(path.read_text())):
        other = name.split(".")[0]
        if other in PACKAGES and other not in allowed:
            assert name.startswith("distill.core"), f"{path} imports {name}"
        if mine == "distill" and path.is_relative_to(ROOT / "distill/core") and other == "distill":
            assert name.startswith("distill.core"), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert path.stem not in FORBIDDEN_NAMES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 80, f"{path}:{node.name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_module_says_what_it_is(path):
    text = path.read_text().strip()
    assert not text or ast.get_docstring(ast.parse(text)), f"{path} has no docstring"


def test_only_learning_imports_torch_at_the_top():
    for path in SOURCES:
        if path.is_relative_to(ROOT / "distill/learning"):
            continue
        body = ast.parse(path.read_text()).body
        top = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = imported(ast.Module(top, []))
        assert "torch" not in {name.split(".")[0] for name in names}, path


BLOCKER = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in {heavy!r}:
            raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize(
    "words",
    [["distill"], ["export"], ["runtime"], ["eval"], ["demo"], ["distill", "eval"]],
    ids=" ".join,
)
def test_help_starts_without_anything_heavy(words):
    code = BLOCKER.format(heavy=HEAVY) + (
        f"import runpy; sys.argv = {[*words, '--help']!r}; "
        f"runpy.run_module({words[0]!r}, run_name='__main__', alter_sys=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_every_dependency_has_a_sentence():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    end = lines.index("[project.scripts]")
    wanted = [x for x in lines[start:end] if re.match(r'\s+"(?!kindred-slm)', x)]
    assert wanted
    assert [line for line in wanted if "#" not in line] == []


def test_what_is_constrained_is_pinned_exactly():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9.a-z]+", pin) for pin in pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {re.match(r"[A-Za-z0-9-]+", d)[0].lower() for g in groups for d in g}
    assert names - {"kindred-slm"} <= {pin.split("==")[0] for pin in pins}


def test_no_committed_text_names_a_machine():
    pattern = re.compile(r"/(work|root|home)/[a-z]")
    for path in [*SOURCES, *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "Makefile"]:
        assert not pattern.search(path.read_text()), path
