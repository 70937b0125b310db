"""What this machine has for the walk, and the line that mends what it lacks.

In: the machine as it is. Out: one line for each thing that was looked at; exit 0 when the walk can
run, 1 when something that it needs is missing. Nothing is refused, sent or written.
"""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.checkup.check import Check
from distill.checkup.machine import (
    check_disk,
    check_gpu,
    check_keys,
    check_memory,
    check_processor,
    check_programs,
)
from distill.checkup.packages import check_extras, check_natives, extras, load_natives
from distill.core.command import PACKAGE, Outcome, command

RUNS = Path("runs")


def examine() -> list[Check]:
    """Look at everything; a few seconds, since native libraries are really loaded."""
    natives = load_natives()
    versions = f"{PACKAGE} {metadata.version(PACKAGE)}, Python {platform.python_version()}"
    return [
        Check("version", "ok", f"{versions}, {platform.system()} {platform.machine()}"),
        *check_extras(extras(metadata.requires(PACKAGE) or [])),
        *check_natives(natives),
        check_processor(),
        check_memory(),
        check_disk(RUNS),
        check_gpu(natives.get("torch", {})),
        *check_keys(os.environ),
        *check_programs(),
    ]


def listed(checks: list[Check]) -> Any:
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(3):
        table.add_column(overflow="fold")
    colours = {"ok": "green", "absent": "dim", "missing": "bold red"}
    for one in checks:
        found = f"{one.found}\n-> {one.remedy}" if one.remedy else one.found
        table.add_row(f"[{colours[one.state]}]{one.state}[/]", one.name, plain(found))
    return table


def plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)


@command
def run() -> Outcome:
    """Say what is installed, what is missing and how to get it; exit 1 if the walk cannot run."""
    checks = examine()
    missing = [check.name for check in checks if check.state == "missing"]
    said = (
        f"The walk cannot run yet: {', '.join(missing)}."
        if missing
        else "The walk can run: distill quickstart"
    )
    data = {"ready": not missing, "checks": [check.as_data() for check in checks]}
    return Outcome(data, [listed(checks), said], 1 if missing else 0)
