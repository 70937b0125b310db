"""Progress and remarks, always on standard error, so that standard output stays a result."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Item = TypeVar("Item")


def remarks() -> Console:
    """Made at each call: tests and servers may have replaced standard error."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    remarks().print(text, markup=False)


def bar() -> Progress:
    """A bar with count, elapsed and remaining time; silent when standard error is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=remarks(),
        disable=not remarks().is_terminal,
    )


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items under a bar."""
    with bar() as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)
