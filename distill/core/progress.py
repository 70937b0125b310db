"""Progress and remarks, always on standard error, so that standard output stays a result.

In: what is done, and what a person may want to know meanwhile. Out: lines, and a bar with the time
that is left where standard error is a terminal. Nothing is refused.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

Item = TypeVar("Item")

hushed = False


def hush(wanted: bool) -> None:
    """Silence bars and remarks, or let them speak again; errors are never silenced."""
    global hushed
    hushed = wanted


def remarks(*, quiet: bool | None = None) -> "Console":
    """Made at each call: tests and servers may have replaced standard error."""
    from rich.console import Console  # a third of the start of a command, and --help needs none

    quiet = hushed if quiet is None else quiet
    return Console(stderr=True, highlight=False, soft_wrap=True, quiet=quiet)


def say(text: str) -> None:
    remarks().print(text, markup=False)


def complain(text: str) -> None:
    """Print an error, hushed or not."""
    remarks(quiet=False).print(text, markup=False)


def bar() -> "Progress":
    """A bar with count, elapsed and remaining time; silent when standard error is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = remarks()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=hushed or not console.is_terminal,
    )


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield the items under a bar."""
    with bar() as progress:
        task = progress.add_task(what, total=total)
        for item in items:
            yield item
            progress.advance(task)
