"""Learn what caring replies mean: direct and improved ones against plain ones, by embedding.

In: a folder written by `distill gather starter curriculum`; its starter dialogues are read. Out:
`caring.json` with one weight for each place of the embedding. Refused: a folder without graded
replies (BadInput).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.jsonl import sha256_of, write_json
from eval.embedding import embed
from eval.scoring.caring import WEIGHTS, Floats, Vectors, beside, tidy
from eval.scoring.corruptions import Graded
from eval.scoring.pairs import GRADES, read_graded

SOURCE = "starter"
PENALTY = 0.1
STEPS = (("direct", "plain"), ("improved", "plain"))


def readings(dialogues: Sequence[Graded], vectors: Vectors) -> list[dict[str, Floats]]:
    """What is read of each graded reply."""
    replies = [tidy(d.replies[grade]) for d in dialogues for grade in GRADES]
    rows = vectors([*(tidy(d.said) for d in dialogues), *replies]).astype(float)
    turns, answers = rows[: len(dialogues)], rows[len(dialogues) :]
    grouped = answers.reshape(len(dialogues), len(GRADES), -1)
    return [
        {grade: beside(one[place], turn) for place, grade in enumerate(GRADES)}
        for one, turn in zip(grouped, turns, strict=True)
    ]


def learned(found: Sequence[dict[str, Floats]]) -> Floats:
    """Weights of a pairwise ridge logistic regression, in units of the spread of their score."""
    from sklearn.linear_model import LogisticRegression

    rows = np.array([one[better] - one[worse] for one in found for better, worse in STEPS])
    mirrored = np.vstack([rows, -rows])
    labels = np.repeat([1, 0], len(rows))
    model = LogisticRegression(C=PENALTY, fit_intercept=False, max_iter=500)
    weights: Floats = model.fit(mirrored, labels).coef_[0]
    spread = np.std([weights @ reading for one in found for reading in one.values()])
    scaled: Floats = weights / spread
    return scaled


def ordered(found: Sequence[dict[str, Floats]], weights: Floats) -> dict[str, float]:
    return {
        f"{better} over {worse}": float(
            np.mean([weights @ one[better] > weights @ one[worse] for one in found])
        )
        for better, worse in STEPS
    }


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder that distill gather wrote.")],
    out: Annotated[Path, typer.Option(help="Where caring.json goes.")] = Path("eval/scoring"),
) -> Outcome:
    """Learn the embedded judge anew from our own graded dialogues."""
    graded = [one for one in read_graded(data) if one.source == SOURCE]
    if not graded:
        raise BadInput(f"{data} holds no starter dialogues; gather them: distill gather starter")
    train = [one for one in graded if one.split == "train"]
    test = [one for one in graded if one.split == "test"]
    weights = np.round(learned(readings(train, embed)), 4)
    known: dict[str, Any] = {
        "weights": weights.tolist(),
        "dialogues": len(train),
        "data_sha256": sha256_of(data / "responses.jsonl"),
        "test_order": ordered(readings(test, embed), weights),
    }
    write_json(out / WEIGHTS, known)
    said = ", ".join(f"{kind} {share:.1%}" for kind, share in known["test_order"].items())
    return Outcome(known, [f"wrote {out / WEIGHTS}; of the test split in order: {said}"])
