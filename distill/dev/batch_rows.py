"""The rows of a batch at a stand-in: which are answered, which fail, expire or are lost.

In: rows as (key, `Asked`). Out: what became of each, in the order of the file or shuffled.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from distill.dev.answers import Asked
from distill.dev.faults import RowFate
from distill.dev.service import Given, Service


@dataclass(frozen=True)
class Row:
    """One row's result; `given` where it was answered. Dropped rows have no result at all."""

    key: str
    asked: Asked
    fate: RowFate
    given: Given | None = None


def results(service: Service, rows: Iterable[tuple[str, Asked]]) -> list[Row]:
    done = [row_of(service, key, asked) for key, asked in rows]
    if service.faults.reorder:
        random.Random(service.faults.seed).shuffle(done)
    return [row for row in done if row.fate != "dropped"]


def row_of(service: Service, key: str, asked: Asked) -> Row:
    service.count("rows")
    attempt = service.attempt(asked.digest)
    fate = service.faults.row(asked.digest, attempt)
    service.count(f"rows_{fate}")
    return Row(key, asked, fate, service.given(asked, attempt) if fate == "done" else None)


def counted(rows: Sequence[Row], fate: RowFate) -> int:
    return sum(row.fate == fate for row in rows)
