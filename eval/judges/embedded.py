"""A judge that needs no key and no network: sentence embeddings by a small model on this machine.

In: calls. Out: decisions, as `offline` makes them, by `eval.scoring.caring`. Refused: a model that
is not installed (MissingExtra, which names the package).
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from distill.core.encoder import open_encoder
from eval.judges.offline import OfflineJudge
from eval.judges.options import JudgeOptions
from eval.judges.seam import Call, Decision
from eval.scoring.caring import CaringScorer, load_caring


class EmbeddedJudge(OfflineJudge):
    """Embeds all that is shown at once, then compares scores."""

    name = "embedded"
    rubric = "caring-scorer"

    def __init__(self, scorer: CaringScorer) -> None:
        super().__init__(scorer)
        self.caring = scorer

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        waiting = list(calls)
        replies = (text for call in waiting for text in (call.first.text, call.second.text))
        turns = (turn.content for call in waiting for turn in call.dialogue.turns)
        self.caring.remember([*replies, *turns])
        return super().decide(waiting)


def opened(spec: str, asked: JudgeOptions, out: Path, ties: bool) -> EmbeddedJudge:
    open_encoder()
    return EmbeddedJudge(load_caring())
