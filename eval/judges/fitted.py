"""A scorer that `distill eval scoring fit` wrote, as something that the offline judge can ask.

In: turns and a reply. Out: the mean rating that the scorer's chances give, from 1 to 3. Refused: a
scorer that reads what new replies do not have (BadInput).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.jsonl import digest_text, read_json
from distill.core.records import Turn
from eval.scoring.apply import rows_known
from eval.scoring.model import CARD, RatingModel, load_model
from eval.scoring.rated import Row

Asked = tuple[tuple[Turn, ...], str]
# Two replies whose expected ratings differ by less are told apart by chance alone.
TIE_MARGIN = 0.02


@dataclass
class FittedScorer:
    """Scores replies by a fitted model; many at once are faster than one by one."""

    model: RatingModel
    agreement_note: str
    digest: str
    tie_margin: float = TIE_MARGIN
    known: dict[Asked, float] = field(default_factory=dict)

    def remember(self, asked: Iterable[Asked]) -> None:
        fresh = [one for one in dict.fromkeys(asked) if one not in self.known]
        if fresh:
            rows = [
                Row(str(n), str(n), turns, text, "", 0) for n, (turns, text) in enumerate(fresh)
            ]
            ratings = self.model.expected(rows_known(self.model, rows)).tolist()
            self.known |= dict(zip(fresh, ratings, strict=True))

    def score(self, turns: list[dict[str, str]], reply: str) -> float:
        asked = tuple(Turn.model_validate(turn) for turn in turns), reply
        self.remember([asked])
        return self.known[asked]


def load_fitted(folder: Path) -> FittedScorer:
    model, card = load_model(folder)
    rows_known(model, [Row("0", "0", (Turn(role="user", content="Hello."),), "Hello.", "", 0)])
    digest = digest_text(str(read_json(folder / CARD)))
    return FittedScorer(model, card["agreement_note"], digest)
