"""Walks: commands in a row, each run as a person would, none that is done already.

In: steps, and a folder for the walk's state and log. Out: every step with its result and its
seconds. Refused: what the command of a step refuses (KindredError), or a check that said no
(CheckFailed), with its own line; a walk that was stopped or killed goes on from there.
"""

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import CheckFailed, KindredError
from distill.core.jsonl import read_json, write_json
from distill.core.progress import bar


@dataclass(frozen=True)
class Step:
    """One command, the files that prove that it ran, and the steps whose outputs it reads.

    Without `after` it is taken to read what any step before it wrote.
    """

    name: str
    words: tuple[str, ...]
    outputs: tuple[Path, ...]
    after: tuple[str, ...] | None = None

    def __str__(self) -> str:
        return shlex.join(("distill", *self.words))

    def done(self, known: dict[str, Any], fresh: set[str]) -> bool:
        """Whether it ran with these words, its files are there, and what it reads is not newer."""
        stale = fresh if self.after is None else fresh & set(self.after)
        return (
            not stale
            and known.get("words") == list(self.words)
            and all(file.exists() for file in self.outputs)
        )


def step(
    name: str, line: Sequence[object], *outputs: Path, after: tuple[str, ...] | None = None
) -> Step:
    return Step(name, tuple(str(word) for word in line), outputs, after)


def run_step(step: Step, log: Path) -> dict[str, Any]:
    """Run one command as a person would; its remarks go to the log."""
    argv = [sys.executable, "-m", "distill", *step.words, "--json"]
    with log.open("a") as remarks:
        remarks.write(f"$ {step}\n")
        remarks.flush()
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=remarks, text=True, check=False)
    if done.returncode:
        last = log.read_text("utf-8").strip().splitlines()[-1]
        kind = CheckFailed if done.returncode == 1 else KindredError
        raise kind(f"{step.name} stopped: {last.removeprefix('error: ')} (all remarks: {log})")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def walk(
    todo: Sequence[Step], out: Path, name: str
) -> Iterator[tuple[Step, dict[str, Any], float]]:
    """Run what is not done yet; yield every step with its result and its seconds."""
    state_path = out / f"{name}.json"
    state = read_json(state_path) if state_path.exists() else {}
    fresh: set[str] = set()
    with bar() as progress:
        task = progress.add_task(name, total=len(todo))
        for step in todo:
            progress.update(task, description=step.name)
            known = state.get(step.name, {})
            if step.done(known, fresh):
                progress.console.print(f"# done before: {step}", markup=False, highlight=False)
            else:
                fresh.add(step.name)
                progress.console.print(f"$ {step}", markup=False, highlight=False)
                started = time.monotonic()
                result = run_step(step, out / f"{name}.log")
                seconds = time.monotonic() - started
                known = {"words": list(step.words), "result": result, "seconds": seconds}
                state[step.name] = known
                write_json(state_path, state)
            progress.advance(task)
            yield step, known["result"], known["seconds"]
