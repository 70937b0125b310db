"""Who decides between two replies: one judge a file, named in the table `JUDGES`.

In: the turns of a dialogue and two replies, in the order in which they are shown. Out: an
`Opinion`. One more judge is one more file and one more line here.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from distill.core.chat import Messages
from distill.core.errors import BadInput
from distill.core.records import Side

JUDGES: Mapping[str, str] = {
    "offline": "eval.judges.offline",
    "openai": "eval.judges.openai",
}


@dataclass(frozen=True)
class JudgeOptions:
    """What the command line knows of a judge; each judge takes what concerns it."""

    model: str | None = None
    base_url: str | None = None
    max_tokens: int = 1024
    temperature: float | None = 0.0
    timeout_s: float = 120.0
    retries: int = 4


@dataclass(frozen=True)
class Opinion:
    """One verdict as it was given, and by which version of the judge."""

    side: Side
    raw: str
    version: str


class Judge(Protocol):
    """Compares two replies; `agreement_note` says what is known of its agreement with people."""

    name: str
    rubric: str
    rubric_digest: str
    agreement_note: str
    parallel: bool

    def compare(self, turns: Messages, first: str, second: str) -> Opinion:
        """Say which reply is better, as they stand."""
        ...


def open_judge(name: str, options: JudgeOptions) -> Judge:
    """The judge of that name; BadInput when there is none or an option is missing."""
    if name not in JUDGES:
        raise BadInput(f"there is no judge {name!r}; choose one of: {', '.join(JUDGES)}")
    judge: Judge = importlib.import_module(JUDGES[name]).open_judge(options)
    return judge
