"""What a corpus yields: a dialogue, what only a teacher may read, and the responses it has."""

import hashlib
from dataclasses import dataclass

from distill.core.records import Dialogue, Privileged, Response, Split


@dataclass(frozen=True)
class Item:
    dialogue: Dialogue
    privileged: Privileged | None
    responses: tuple[Response, ...]

    def response(self, strategy: str) -> Response:
        return next(r for r in self.responses if r.strategy == strategy)


def split_by_id(name: str, *, test_percent: int = 10, valid_percent: int = 10) -> Split:
    """A split that depends on the name alone: the same on every machine, at every size."""
    percent = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 100
    if percent < test_percent:
        return "test"
    return "valid" if percent < test_percent + valid_percent else "train"
