"""The wheel in a fresh environment: install, every command's help, doctor, and the whole walk.

    python -m tests.benchmarks.clean_install [--extras all] [--keep FOLDER]

In: this checkout, and a package index for the dependencies. Out: figures on standard output; exit 1
when something does not work. The walk starts from a random base of under a million weights and
reads nothing of the checkout. llama.cpp is compiled unless pip has its wheel in the cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.distill.test_quickstart import RECIPE
from tests.models import tiny_checkpoint
from tests.test_package import EVERY_HELP, built, copied

ROOT = Path(__file__).parents[2]
HELP_RUNS = 5


def packed(folder: Path) -> Path:
    """A wheel of the source distribution, built in isolation as an installer would."""
    source = built("sdist", copied(folder / "tree"), folder / "dist")
    argv = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "dist", source]
    subprocess.run(argv, check=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    return wheel


def environment(folder: Path, wheel: Path, extras: str) -> Path:
    """A new environment with the wheel and the constrained versions; its `bin`."""
    subprocess.run([sys.executable, "-m", "venv", folder / "fresh"], check=True)
    scripts = folder / "fresh" / ("Scripts" if os.name == "nt" else "bin")
    pip = [scripts / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, "torch"], check=True)
    subprocess.run([*pip, f"{wheel}[{extras}]"], check=True)
    return scripts


def run(empty: Path, *words: object) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        [str(word) for word in words], cwd=empty, env=given, capture_output=True, text=True
    )


def help_seconds(empty: Path, distill: Path) -> float:
    taken = []
    for _ in range(HELP_RUNS):
        started = time.perf_counter()
        assert run(empty, distill, "--help").returncode == 0
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def walk(empty: Path, distill: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    base = tiny_checkpoint(folder / "tiny")
    (folder / "recipe.yaml").write_text(RECIPE)
    words = ("--base", base, "--recipe", folder / "recipe.yaml", "--out", "walk", "--json")
    return run(empty, distill, "quickstart", *words)


def check(folder: Path, extras: str) -> bool:
    started = time.perf_counter()
    wheel = packed(folder)
    print(f"wheel: {wheel.name}, {wheel.stat().st_size / 1e6:.1f} MB")
    scripts = environment(folder, wheel, extras)
    print(f"installed with [{extras}] after {(time.perf_counter() - started) / 60:.1f} minutes")
    empty = folder / "empty"
    empty.mkdir()
    distill = scripts / "distill"
    print(f"distill --help: {help_seconds(empty, distill):.2f} s (median of {HELP_RUNS})")
    helps = run(empty, scripts / "python", "-c", EVERY_HELP)
    told = json.loads(helps.stdout.splitlines()[-1])["told"] if not helps.returncode else {}
    good = {words for words, text in told.items() if f"Usage: distill {words}" in text}
    print(f"commands that tell their help: {len(good)} of {len(told)}")
    doctor = run(empty, distill, "doctor")
    print(f"distill doctor: exit {doctor.returncode}")
    started = time.perf_counter()
    walked = walk(empty, distill, folder)
    seconds = time.perf_counter() - started
    print(f"distill quickstart --base TINY: exit {walked.returncode}, {seconds:.0f} s")
    passed = bool(good) and len(good) == len(told) and not doctor.returncode + walked.returncode
    if not passed:
        print(helps.stderr, doctor.stdout, walked.stderr, sep="\n")
    return passed


def main(
    extras: Annotated[str, typer.Option(help="Of the package, with commas.")] = "all",
    keep: Annotated[Path | None, typer.Option(help="A new folder to work in and leave.")] = None,
) -> None:
    with tempfile.TemporaryDirectory() as gone:
        folder = Path(gone) if keep is None else keep.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        raise typer.Exit(0 if check(folder, extras) else 1)


if __name__ == "__main__":
    typer.run(main)
