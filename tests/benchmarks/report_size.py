"""Seconds and bytes of a whole report: 1,000 pairs, four candidates, two judges, every section.

    python -m tests.benchmarks.report_size [--pairs N] [--keep FOLDER]

The folder is generated; the command is the one that people run, started anew (aims: < 10 s, < 3 MB
of HTML). Printed beside it: peak memory of the command, and the load of the machine.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer
from rich.console import Console

from tests.eval.crowd import Crowd

OTHERS = ("student-Q8_0", "one-step")


def measure(folder: Path, pairs: int) -> str:
    Crowd(folder, pairs, OTHERS).write_everything()
    load, started = os.getloadavg()[0], time.perf_counter()
    line = [sys.executable, "-m", "distill", "eval", "report", str(folder)]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    took = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    size = (folder / "report/report.html").stat().st_size
    return (
        f"{pairs:,} pairs, {2 + len(OTHERS)} candidates: {took:.1f} s "
        f"({used.ru_utime + used.ru_stime:.1f} s of processor), {size / 1e6:.2f} MB of HTML, "
        f"peak {used.ru_maxrss / 1024:.0f} MiB, load {load:.1f}"
    )


def main(pairs: int = 1000, keep: Path | None = None) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        Console().print(measure(keep or Path(scratch) / "run", pairs))


if __name__ == "__main__":
    typer.run(main)
