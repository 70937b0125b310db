"""What a rule of `distill curate` looks at, and what it answers.

In: cases, some at a time. Out: for each the reason to refuse it, or None. No rule changes a text.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from distill.core.records import Dialogue, Response

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A response with its dialogue, its privileged fields, and the text that it improves."""

    place: int
    response: Response
    dialogue: Dialogue
    privileged: Mapping[str, str] = field(default_factory=dict)
    original: str | None = None


@dataclass(frozen=True)
class Settings:
    """What the command line can set, and what a rule may look up of the data.

    Without a `min_similarity` the method's own holds. `texts` gives the first so many responses,
    `name_at` the id of the response at a place.
    """

    max_words: int = 97
    mean_words: float = 28.0
    min_similarity: float | None = None
    embeddings: str | None = None
    texts: Callable[[int], Iterable[str]] = lambda _: ()
    name_at: Callable[[int], str] = str


Reason = str | None
Check = Callable[[Sequence[Case]], list[Reason]]


def one_by_one(judge: Callable[[Case], Reason]) -> Check:
    """A rule that needs to see one case only."""
    return lambda cases: [judge(case) for case in cases]
