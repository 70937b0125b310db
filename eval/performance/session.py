"""One measurement: servers started one after another, each asked its part of the plan.

In: a subject, a plan, numbers of threads. Out: `Found`. Refused: a file that cannot be served
(Unavailable, from the server's own last line).
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distill.core.machine import physical_cores
from distill.core.progress import bar, say
from distill.core.serving import Served, served
from eval.machine import MemoryWatch, threads_of
from eval.performance.client import Client, Timed
from eval.performance.energy import EnergyMeter
from eval.performance.measuring import (
    Meters,
    Plan,
    Sample,
    over_dialogues,
    over_lengths,
    warmed,
)


@dataclass
class Found:
    """What a whole measurement saw, over all servers that it started."""

    samples: list[Sample] = field(default_factory=list)
    loads_s: list[float] = field(default_factory=list)
    first_replies: list[Timed] = field(default_factory=list)
    memory: dict[str, Any] = field(default_factory=dict)
    energy: dict[str, Any] = field(default_factory=dict)
    threads: int | None = None
    context: int = 0


@dataclass(frozen=True)
class Subject:
    """The file, and how it is served."""

    file: Path
    profile: str | None
    timeout_s: float


@contextmanager
def opened(subject: Subject, threads: int | None, found: Found) -> Iterator[tuple[Served, Client]]:
    """A fresh server; how long it took to start, and its first reply, are written down."""
    started = time.perf_counter()
    with served(subject.file, threads=threads, profile=subject.profile) as server:
        found.loads_s.append(time.perf_counter() - started)
        with Client(server.url, server.model, subject.timeout_s) as client:
            found.context = client.context()
            found.first_replies.append(warmed(client, 0))
            yield server, client


def measured(subject: Subject, plan: Plan, threads: Sequence[int | None], loads: int) -> Found:
    """The whole plan on the first number of threads, the lengths again on each other one."""
    found = Found()
    cells = len(plan.lengths) * plan.repeats
    with bar() as progress:
        task = progress.add_task("timing", total=len(plan.dialogues) + len(threads) * cells + loads)
        for number, wanted in enumerate(threads):
            with opened(subject, wanted, found) as (server, client):
                progress.advance(task)
                kept = within(plan, found.context)
                used = wanted or threads_of(server.pid) or physical_cores()
                meters = Meters(MemoryWatch(server.pid), EnergyMeter())
                if number == 0:
                    for sample in over_dialogues(client, kept, used, meters):
                        found.samples.append(sample)
                        progress.advance(task)
                    found.energy = meters.energy.found()
                for sample in over_lengths(client, kept, used, meters):
                    found.samples.append(sample)
                    progress.advance(task, sample.kind == "prefill")
                if number == 0:
                    found.threads, found.memory = used, meters.memory.found()
        for _ in range(loads - len(threads)):
            with opened(subject, threads[0], found):
                progress.advance(task)
    return found


def within(plan: Plan, context: int) -> Plan:
    """The plan without prompts that leave no room for a reply in this context."""
    room = context - plan.decode_tokens
    kept = [length for length in plan.lengths if length <= room]
    left_out = [str(length) for length in plan.lengths if length > room]
    if left_out:
        say(
            f"note: prompts of {', '.join(left_out)} tokens are left out: with a reply of "
            f"{plan.decode_tokens} they do not fit the context of {context}"
        )
    return replace(plan, lengths=kept)
