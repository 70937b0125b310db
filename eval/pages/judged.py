"""How each judge decided each pair, looked up from the journal of verdicts.

In: evidence. Out: `Decided` by judge and dialogue. Verdicts on other texts, by other judges or by
other rubrics lie in the same journal and are passed over.
"""

from dataclasses import dataclass

from distill.core.records import Answer, Judgement
from eval.judging import label
from eval.pages.evidence import Evidence
from eval.panel import majority
from eval.statistics import Outcome, outcome_of, outcome_of_one


@dataclass(frozen=True)
class Decided:
    """One judge on one pair: how it ended, and what was said in either order."""

    judge: str
    outcome: Outcome
    straight: Judgement | None
    swapped: Judgement | None


class Verdicts:
    """All verdicts on the student against what it is compared with."""

    def __init__(self, found: Evidence) -> None:
        self._student, self._base = found.student, found.base
        result = found.winrate or {}
        panel = (result.get("panel") or {}).get("judges")
        self.judges: list[str] = list(panel or filter(None, [result.get("judge")]))
        self._one_order = result.get("protocol") == "xie2025"
        rubric = None if panel else result.get("rubric_digest")
        self._held = {
            (one.judge, one.dialogue_id, one.first, one.second): one
            for one in found.judgements
            if one.judge in self.judges and rubric in (None, one.rubric_digest)
        }

    def on(self, name: str) -> list[Decided]:
        """What every judge made of a dialogue's pair; empty where the texts are equal."""
        if not self._student or not self._base:
            return []
        mine, theirs = self._student.answers[name], self._base.answers[name]
        if mine.text.strip() == theirs.text.strip():
            return []
        return [self._by(judge, name, mine, theirs) for judge in self.judges]

    def _by(self, judge: str, name: str, mine: Answer, theirs: Answer) -> Decided:
        pair = label(mine), label(theirs)
        straight = self._held.get((judge, name, *pair))
        swapped = self._held.get((judge, name, *pair[::-1]))
        sides = [one.verdict if one else None for one in (straight, swapped)]
        outcome = outcome_of_one(sides[0]) if self._one_order else outcome_of(*sides)
        return Decided(judge, outcome, straight, swapped)

    def outcome(self, decided: list[Decided]) -> Outcome:
        """That of the only judge, or of most of them; equal texts are a tie."""
        if not decided:
            return "tie"
        return majority([one.outcome for one in decided]) if decided[1:] else decided[0].outcome
