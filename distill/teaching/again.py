"""Asking a second time for what was refused: the next attempt has its own name and seed.

In: a file of refusals, as `distill curate --ask-again` and `unanswered.jsonl` hold them, and the
refusals of the data folder, which are not asked for again without such a file. Out: for each
response the attempt that is due. Refused: a file without a refusal (BadInput). The second attempt
at `x` is named `x~2`, and its call is another one for the ledger.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Refusal

ATTEMPT = re.compile(r"(.*)~(\d+)", re.DOTALL)


@dataclass(frozen=True)
class Attempts:
    """The last attempt by the name of the first: `refused` is due again, `settled` is not."""

    refused: Mapping[str, int] = field(default_factory=dict)
    settled: Mapping[str, int] = field(default_factory=dict)

    def due(self, stem: str, present: Iterable[str]) -> int | None:
        """The attempt to make now; None where a response is there, or was refused for good."""
        attempt = self.refused.get(stem, 0) + 1
        made = last_attempts(present).get(stem, 0)
        return attempt if attempt > max(made, self.settled.get(stem, 0)) else None


def parted(name: str) -> tuple[str, int]:
    """`x~2` as x and 2, and x as x and 1."""
    found = ATTEMPT.fullmatch(name)
    return (found[1], int(found[2])) if found else (name, 1)


def attempt_name(stem: str, attempt: int) -> str:
    return stem if attempt == 1 else f"{stem}~{attempt}"


def last_attempts(names: Iterable[str]) -> dict[str, int]:
    last: dict[str, int] = {}
    for stem, attempt in map(parted, names):
        last[stem] = max(attempt, last.get(stem, 0))
    return last


def read_attempts(path: Path | None, refusals: Iterable[Refusal] = ()) -> Attempts:
    """What a file names, and what the data folder has refused."""
    again = read_jsonl(path, Refusal) if path else []
    if path and not again:
        raise BadInput(f"{path} names nothing to ask again; leave --again out")
    refused, settled = (
        last_attempts(one.response_id for one in named) for named in (again, refusals)
    )
    return Attempts(refused, settled)
