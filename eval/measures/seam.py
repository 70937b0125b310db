"""What every measure takes and gives.

In: `Material`, a candidate's replies and whatever else was given to measure them by. Out:
`Figure`s, each with an interval over dialogues, what it means and what it is not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.records import Dialogue, Response
from eval.held_out import AnswerFile
from eval.statistics import bootstrap


@dataclass(frozen=True)
class Figure:
    """One number; `over` says of how many dialogues, and `value` is None where there are none."""

    name: str
    value: float | None
    unit: str
    over: int
    means: str
    is_not: str
    interval: tuple[float, float] | None = None
    interval_method: str | None = None


@dataclass(frozen=True)
class Material:
    """Replies to dialogues, and what they are held against; what was not given is None or empty.

    `data` is a folder that gather wrote, `reference` the author or strategy of the responses there
    that count as references, `replies` those responses by dialogue.
    """

    answers: AnswerFile
    dialogues: Sequence[Dialogue]
    seed: int = 0
    data: Path | None = None
    reference: str | None = None
    replies: Mapping[str, Sequence[Response]] = field(default_factory=dict)
    student: str | None = None
    training: tuple[Path, ...] = ()
    coder: Path | None = None
    epitome: Path | None = None

    @cached_property
    def texts(self) -> list[str]:
        """The replies, in the order of the dialogues."""
        return [self.answers.answers[dialogue.id].text for dialogue in self.dialogues]

    @cached_property
    def references(self) -> list[tuple[Dialogue, str, list[str]]]:
        """Dialogue, reply and reference replies, where there are any."""
        return [
            (dialogue, text, [response.text for response in self.replies[dialogue.id]])
            for dialogue, text in zip(self.dialogues, self.texts, strict=True)
            if dialogue.id in self.replies
        ]


def mean(name: str, values: Sequence[float], seed: int, **told: Any) -> Figure:
    """The mean of one value a dialogue, with its interval."""
    found = np.asarray(values, float)
    if not len(found):
        return Figure(name, None, over=0, **told)
    interval = bootstrap(len(found), lambda numbers: float(found[numbers].mean()), seed)
    return Figure(
        name,
        float(found.mean()),
        over=len(found),
        interval=(interval.low, interval.high) if interval else None,
        interval_method=interval.method if interval else None,
        **told,
    )
