"""Asking a second time for what was refused: the next attempt has its own name and seed.

In: a file of refusals, as `distill curate --ask-again` and `unanswered.jsonl` hold them. Out: for
each response the attempt that is due. Refused: a file without a refusal (BadInput). The second
attempt at `x` is named `x~2`, and its call is another one for the ledger.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Refusal

ATTEMPT = re.compile(r"(.*)~(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Attempts:
    """The attempts that were refused, by the name of the first."""

    refused: dict[str, int] = field(default_factory=dict)

    def due(self, stem: str, present: Collection[str]) -> int | None:
        """The attempt to make now; None where there is a response that nobody refused."""
        attempt = self.refused.get(stem, 0) + 1
        last = max((number for name, number in map(parted, present) if name == stem), default=0)
        return attempt if attempt > last else None


def parted(name: str) -> tuple[str, int]:
    """`x~2` as x and 2, and x as x and 1."""
    found = ATTEMPT.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def attempt_name(stem: str, attempt: int) -> str:
    return stem if attempt == 1 else f"{stem}~{attempt}"


def read_attempts(path: Path | None) -> Attempts:
    """What a file names, the last attempt of each; nothing without a file."""
    refused: dict[str, int] = {}
    for refusal in read_jsonl(path, Refusal) if path else []:
        stem, attempt = parted(refusal.response_id)
        refused[stem] = max(attempt, refused.get(stem, 0))
    if path and not refused:
        raise BadInput(f"{path} names nothing to ask again; leave --again out")
    return Attempts(refused)
