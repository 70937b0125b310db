"""A judge that needs no key and no network: the offline scorer scores each reply by itself.

In: two replies. Out: the higher score wins; scores within the scorer's margin are a tie. It is
symmetric by construction, and it is as good as its agreement note says and no better.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from distill.core.chat import Messages
from eval.judges.options import JudgeOptions
from eval.judges.seam import Call, Decision, Opinion, compared

if TYPE_CHECKING:
    from eval.judges.fitted import FittedScorer


class Scorer(Protocol):
    """Scores one reply to a dialogue; higher is better."""

    @property
    def tie_margin(self) -> float:
        """Scores that differ by no more are a tie."""
        ...

    @property
    def agreement_note(self) -> str:
        """How far its verdicts agree with people's, as measured."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of all that the scores depend on."""
        ...

    def score(self, turns: list[dict[str, str]], reply: str) -> float:
        """The score of a reply to these turns."""
        ...


class OfflineJudge:
    """Compares scores."""

    name = "offline"
    rubric = "offline-scorer"

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        self.rubric_digest = scorer.digest
        self.agreement_note = scorer.agreement_note

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        return compared(self.compare, calls)

    def compare(self, turns: Messages, first: str, second: str) -> Opinion:
        said = [dict(turn) for turn in turns]
        scores = [self.scorer.score(said, reply) for reply in (first, second)]
        raw = f"scores {scores[0]:.4f} and {scores[1]:.4f}, tie within {self.scorer.tie_margin:.4f}"
        if abs(scores[0] - scores[1]) <= self.scorer.tie_margin:
            return Opinion("tie", raw, self.scorer.digest)
        return Opinion("first" if scores[0] > scores[1] else "second", raw, self.scorer.digest)


class FittedJudge(OfflineJudge):
    """As the offline judge, by a scorer of one's own."""

    rubric = "fitted-scorer"

    def __init__(self, scorer: "FittedScorer", name: str) -> None:
        super().__init__(scorer)
        self.fitted, self.name = scorer, name

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        waiting = list(calls)
        shown = ((c, text) for c in waiting for text in (c.first.text, c.second.text))
        self.fitted.remember((tuple(call.dialogue.turns), text) for call, text in shown)
        return super().decide(waiting)


def opened(spec: str, asked: JudgeOptions, out: Path, ties: bool) -> OfflineJudge:
    folder = spec.partition(":")[2]
    if folder:
        from eval.judges.fitted import load_fitted

        return FittedJudge(load_fitted(Path(folder)), spec)
    from eval.scoring.offline import load_scorer

    return OfflineJudge(load_scorer())
