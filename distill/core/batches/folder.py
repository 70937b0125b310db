"""What is kept of a batch on this machine: a folder with its calls, its requests, its terms.

In: asks and their rows. Out: folders that stay within a provider's limits, each named by the mark
that its batch carries at the provider. They are on the disk before anything is submitted, so that
a run that was killed between the two finds its batch again.
"""

import json
import shutil
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill.core.asking import Ask
from distill.core.errors import Unavailable
from distill.core.jsonl import existing, read_json, write_json, write_text
from distill.core.prices import Price

MAX_ROWS = 50_000
MAX_BYTES = 100 * 1000 * 1000
CALLS, REQUESTS, TERMS, LOCK = "calls.jsonl", "requests.jsonl", "batch.json", "lock.sqlite"
MARK = "kindred-"


@dataclass(frozen=True)
class Call:
    """One call of a batch, with what the ledger wants to know of it."""

    key: str
    id: str
    prompt_digest: str
    messages: list[dict[str, str]]


@dataclass(frozen=True)
class BatchTerms:
    """Where a batch goes, whose it is, what it costs; `reservation` is money set aside."""

    provider: str
    model: str
    url: str
    ledger: str
    price: Price | None = None
    reservation: int | None = None


@dataclass(frozen=True)
class Part:
    """The calls and rows of one batch, within the limits."""

    asks: list[tuple[str, Ask]]
    rows: list[str]


@dataclass(frozen=True)
class BatchFolder:
    """The files of one batch."""

    path: Path

    @property
    def mark(self) -> str:
        return self.path.name

    @property
    def requests(self) -> Path:
        return self.path / REQUESTS

    def write(self, part: Part, terms: BatchTerms) -> None:
        """`batch.json` comes last: a folder without it was never submitted."""
        self.path.mkdir(parents=True, exist_ok=True)
        calls = [
            Call(key, ask.id, ask.prompt_digest, [dict(one) for one in ask.messages])
            for key, ask in part.asks
        ]
        write_text(self.path / CALLS, "".join(line_of(asdict(call)) for call in calls))
        write_text(self.requests, "".join(part.rows))
        write_json(self.path / TERMS, asdict(terms))

    def calls(self) -> Iterator[Call]:
        with existing(self.path / CALLS).open(encoding="utf-8") as lines:
            for line in lines:
                yield Call(**json.loads(line))

    @property
    def whole(self) -> bool:
        """Whether it was written to its end; nothing is submitted before."""
        return (self.path / TERMS).exists()

    def terms(self) -> BatchTerms:
        found = read_json(self.path / TERMS)
        price = Price(**found.pop("price")) if found["price"] else None
        return BatchTerms(**{**found, "price": price})

    def remove(self) -> None:
        shutil.rmtree(self.path)


def line_of(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"


def parts(
    calls: Iterable[tuple[str, Ask, Mapping[str, Any]]],
    max_rows: int = MAX_ROWS,
    max_bytes: int = MAX_BYTES,
) -> Iterator[Part]:
    """Cut a stream of calls where the next row would pass a limit."""
    part, size_bytes = Part([], []), 0
    for key, ask, row in calls:
        line = line_of(row)
        length = len(line.encode())
        if part.rows and (len(part.rows) == max_rows or size_bytes + length > max_bytes):
            yield part
            part, size_bytes = Part([], []), 0
        part.asks.append((key, ask))
        part.rows.append(line)
        size_bytes += length
    if part.rows:
        yield part


def fresh_in(folder: Path) -> BatchFolder:
    return BatchFolder(folder / f"{MARK}{uuid.uuid4().hex}")


def folders_in(folder: Path) -> list[BatchFolder]:
    return [BatchFolder(path) for path in sorted(folder.glob(f"{MARK}*")) if path.is_dir()]


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One submission at a time; the lock ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = sqlite3.connect(folder / LOCK, timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable(f"another run is submitting from {folder}; wait until it ends") from error
    finally:
        lock.close()
