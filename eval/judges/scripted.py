"""A judge for tests: a function of the turns and the two replies, as they stand."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from distill.core.chat import Messages
from distill.core.records import Side
from eval.judges.seam import Call, Decision, Opinion, compared

Script = Callable[[Messages, str, str], Side]


@dataclass
class ScriptedJudge:
    """A double at the seam; `asked` keeps every pair in the order in which it was shown."""

    script: Script
    name: str = "scripted"
    rubric: str = "scripted"
    rubric_digest: str = "scripted"
    agreement_note: str = "a scripted judge agrees with its script"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        return compared(self.compare, calls)

    def compare(self, turns: Messages, first: str, second: str) -> Opinion:
        self.asked.append((first, second))
        return Opinion(self.script(turns, first, second), "scripted", self.name)
