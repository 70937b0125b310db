"""The batches of a ledger, one by one, so that one that cannot be reached hides no other.

In: the path of a ledger. Out: each batch with what came of looking at it. Refused: a ledger that
is not there (MissingInput).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from distill.core.errors import KindredError
from distill.core.jsonl import existing
from distill.core.ledger import BatchRecord, Ledger
from distill.core.progress import say

Found = TypeVar("Found")
COLLECTED, WAITING = "collected", "waiting"


@contextmanager
def present(path: Path) -> Iterator[Ledger]:
    with Ledger(existing(path)) as ledger:
        yield ledger


def each(
    records: list[BatchRecord], look: Callable[[BatchRecord], Found]
) -> Iterator[tuple[BatchRecord, Found | None]]:
    """None where the look failed; the reason is said."""
    for record in records:
        try:
            yield record, look(record)
        except KindredError as error:
            say(f"error: {record.id}: {error}")
            yield record, None
