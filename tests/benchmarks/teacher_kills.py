"""A run of calls, killed with SIGKILL at random moments and started again each time.

    python -m tests.benchmarks.teacher_kills [--calls N] [--kills N] [--concurrency N]

The service is the stand-in for OpenAI in this process; the run is a process of its own. Each kill
comes after a random number of answers and a random moment more. Printed: whether every record is
in the ledger once, and how many calls were paid for twice, against those that can have been in
flight at the kills.
"""

import random
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from tests.distill.core.killing import Killing


def kill_often(run: Killing, kills: int, moments: random.Random) -> int:
    """How many of the kills met a run that was still going."""
    each = max(run.count * 8 // 10 // kills, 1)
    met = 0
    for number in range(kills):
        met += run.kill_after(moments.randint(1, 2 * each - 1), moments.uniform(0, 0.1))
        answered = run.server.counts()["answered"]
        print(f"kill {number + 1}: {answered} answers given, {run.missing()} calls to go")
    return met


def rows_in(ledger: Path) -> tuple[int, int]:
    with closing(sqlite3.connect(ledger)) as database:
        found = database.execute("SELECT count(*), count(DISTINCT key) FROM calls").fetchone()
    return found[0], found[1]


def main(
    calls: Annotated[int, typer.Option()] = 500,
    kills: Annotated[int, typer.Option()] = 20,
    concurrency: Annotated[int, typer.Option()] = 8,
    latency_ms: Annotated[float, typer.Option()] = 50.0,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    with tempfile.TemporaryDirectory() as folder, FakeOpenAI(Faults(latency_ms)) as server:
        run = Killing(server, Path(folder) / "ledger.sqlite", calls, concurrency)
        met = kill_often(run, kills, random.Random(seed))
        answers, counts = run.finish(), server.counts()
        rows, keys = rows_in(run.ledger)
    table = Table("what", "found", "aim", title=f"{calls} calls, {concurrency} at once")
    table.add_row("kills of a run under way", str(met), str(kills))
    table.add_row("records in the ledger", f"{rows} ({keys} distinct)", str(calls))
    table.add_row("answers at the end", str(sum(map(bool, answers.values()))), str(calls))
    table.add_row("calls paid for twice", str(counts["repeated"]), f"<= {met * concurrency}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
