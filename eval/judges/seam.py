"""What every judge takes and gives: calls, opinions, and decisions that may have failed."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from distill.core.chat import Messages
from distill.core.jsonl import digest_text
from distill.core.records import Answer, Dialogue, Side

Key = tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One pair in one order."""

    dialogue: Dialogue
    first: Answer
    second: Answer

    @property
    def id(self) -> str:
        return " ".join((self.dialogue.id, label(self.first), label(self.second)))

    def key(self, judge: "Judge") -> Key:
        """What a verdict is found again by: who judged by what, and what was shown."""
        pair = label(self.first), label(self.second)
        return (judge.name, judge.rubric_digest, self.dialogue.id, *pair)


@dataclass(frozen=True)
class Opinion:
    """One verdict as it was given, and by which version of the judge."""

    side: Side
    raw: str
    version: str


@dataclass(frozen=True)
class Decision:
    """What came of a call; without an opinion it failed, and `failure` says why.

    `paid` is false where nothing was asked: a local judge, or a call that the ledger holds.
    """

    call: Call
    opinion: Opinion | None
    failure: str | None = None
    paid: bool = False


class Judge(Protocol):
    """Compares two replies; `agreement_note` says what is known of its agreement with people."""

    @property
    def name(self) -> str: ...

    @property
    def rubric(self) -> str: ...

    @property
    def rubric_digest(self) -> str: ...

    @property
    def agreement_note(self) -> str: ...

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        """Say of each call which reply is better; in any order."""
        ...


def compared(
    compare: Callable[[Messages, str, str], Opinion], calls: Iterable[Call]
) -> Iterator[Decision]:
    """The decisions of a judge that compares on this machine, one after another."""
    for call in calls:
        turns = call.dialogue.messages()
        yield Decision(call, compare(turns, call.first.text, call.second.text))


def label(answer: Answer) -> str:
    """A candidate and what it said, so that a changed answer is judged anew."""
    return f"{answer.candidate}:{digest_text(answer.text)[:12]}"
