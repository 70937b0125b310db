"""One thing that was looked at.

In: what was found. Out: a `Check`. Nothing is refused: what is absent is a finding.
"""

from dataclasses import asdict, dataclass
from typing import Literal

State = Literal["ok", "absent", "missing"]


@dataclass(frozen=True)
class Check:
    """A finding: `missing` keeps the walk from running, `absent` only what it names."""

    name: str
    state: State
    found: str
    remedy: str = ""

    def as_data(self) -> dict[str, str]:
        return asdict(self)


def verdict(good: bool, needed: bool) -> State:
    if good:
        return "ok"
    return "missing" if needed else "absent"
