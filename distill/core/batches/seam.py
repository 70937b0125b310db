"""What every batch service takes and gives.

States: `waiting` (the provider works on it), `done`, `expired`, `failed`, `cancelled` (it ended,
and may have answers all the same), `collected` (its answers are in the ledger).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from distill.core.chat.seam import Messages, Reply, Sampling
from distill.core.ledger import BatchRecord

State = Literal["waiting", "done", "expired", "failed", "cancelled", "collected"]


@dataclass(frozen=True)
class Look:
    """How a batch stands; `note` is one line for people."""

    state: State
    note: str


@dataclass(frozen=True)
class Result:
    """One row that came back: a reply, or the reason why there is none."""

    key: str
    reply: Reply | None
    failure: str | None


@dataclass(frozen=True)
class Submission:
    """What `submit` did: batches made now, and calls that were on their way already."""

    records: Sequence[BatchRecord] = ()
    calls: int = 0
    waiting: int = 0


@dataclass(frozen=True)
class BatchOutcome:
    """What came of a batch, by the ids of its asks; `failed` tells why.

    Neither `failed` nor `missing` is in the ledger, so the same command submits them again.
    """

    record: BatchRecord
    answered: Sequence[str] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    missing: Sequence[str] = ()


class BatchService(Protocol):
    """The batch API of one provider, for one model."""

    provider: str
    model: str
    url: str

    def row(self, key: str, messages: Messages, sampling: Sampling) -> Mapping[str, Any]:
        """One line of the file of requests."""
        ...

    def send(self, requests: Path, mark: str) -> str:
        """Submit the file as a batch that carries the mark; returns the batch's id."""
        ...

    def find(self, mark: str) -> str | None:
        """The id of a batch that carries the mark, if there is one."""
        ...

    def look(self, id: str) -> Look: ...

    def results(self, id: str, folder: Path) -> Iterator[Result]:
        """The rows of a batch that ended, in any order; what was fetched is kept in the folder."""
        ...
