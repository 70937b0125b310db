"""The wheel, and not the checkout: what is in it, and that it runs from an empty directory.

It is built from the source distribution, so that one is tested too, and installed without its
dependencies into a folder of its own. `tests/benchmarks/clean_install.py` does it all in a fresh
environment, quickstart included.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("distill", "export", "runtime", "eval", "demo")
CACHES = shutil.ignore_patterns("__pycache__", "*.pyc")
BUILD = "from setuptools import build_meta as b; print(b.build_{what}({out!r}))"

EVERY_HELP = """
import contextlib, io, json, sys
import distill
from distill.cli import COMMANDS
from distill.core.command import every_command, main

told = {}
for words, _ in every_command(COMMANDS):
    sys.argv, out = ["distill", *words.split(), "--help"], io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        main("distill", "Help.", COMMANDS)
    told[words] = out.getvalue()
print(json.dumps({"told": told, "from": distill.__file__}))
"""


def built(what, tree, out):
    """The file that the build back end writes, without a network."""
    out.mkdir(exist_ok=True)
    argv = [sys.executable, "-c", BUILD.format(what=what, out=str(out))]
    done = subprocess.run(argv, cwd=tree, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


def copied(tree):
    """What is packed, in a new folder, so that no old build folder leaks in."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=CACHES)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    tree = copied(tmp_path_factory.mktemp("package") / "tree")
    for weights in tree.rglob("*.safetensors"):
        weights.write_bytes(b"")  # they take ten seconds to compress, twice
    return tree


@pytest.fixture(scope="module")
def wheel(tree):
    """Tree -> source distribution -> wheel."""
    folder = tree.parent
    source = built("sdist", tree, folder / "dist")
    with tarfile.open(source) as archive:
        archive.extractall(folder / "source", filter="data")
    (unpacked,) = (folder / "source").iterdir()
    return built("wheel", unpacked, folder / "dist")


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    options = ["--quiet", "--no-deps", "--no-index", "--no-compile", "--target"]
    argv = [sys.executable, "-m", "pip", "install", *options, str(folder), str(wheel)]
    subprocess.run(argv, check=True)
    return folder


def process(installed, cwd, *words):
    """Python that finds the installed wheel first, in a directory of the caller's."""
    environment = os.environ | {"PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    argv = [sys.executable, *map(str, words)]
    return subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(tree, wheel):
    here = {
        path.relative_to(tree).as_posix()
        for package in PACKAGES
        for path in (tree / package).rglob("*")
        if path.is_file()
    }
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == here
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    for needed in ("distill/starter/base/config.json", "distill/recipes/starter.yaml"):
        assert needed in names


def test_every_command_tells_its_help_from_an_empty_directory(installed, tmp_path):
    done = process(installed, tmp_path, "-c", EVERY_HELP)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert Path(said["from"]).is_relative_to(installed)
    assert len(said["told"]) > 30
    for words, text in said["told"].items():
        assert f"Usage: distill {words}" in text, words
        assert "--help" in text, words
    assert list(tmp_path.iterdir()) == []


def test_what_is_inside_is_enough_to_gather_and_compose(installed, tmp_path):
    gather = ("gather", "starter", "curriculum", "--count", 40, "--out", "data")
    compose = ("compose", "data", "--rule", "improved", "--out", "sets")
    for words in (gather, compose):
        done = process(installed, tmp_path, "-m", "distill", *words, "--quiet")
        assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "sets/test.jsonl").stat().st_size > 0


def test_the_scripts_of_the_wheel_start(installed, tmp_path):
    for name in ("distill", "export"):
        done = process(installed, tmp_path, installed / "bin" / name, "--version")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"{name} ")


def test_a_program_can_import_what_it_installed(installed, tmp_path):
    code = "import runtime; from runtime.guard import check; print(check('hello').fired)"
    done = process(installed, tmp_path, "-c", code)
    assert (done.returncode, done.stdout) == (0, "False\n")
