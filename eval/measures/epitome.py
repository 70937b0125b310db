"""EPITOME's levels (arXiv 2009.08441): emotional reactions, interpretations, explorations, 0 to 2.

In: replies, and a folder with EPITOME's files (`emotional-reactions-reddit.csv` and so on), which
the user has. Out: the mean expected level of each, by a logistic regression on words and counts of
the response that is fitted here, with how well it tells levels on posts that it has not seen.
Refused: a folder or file that is not EPITOME's (MissingInput, BadInput).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from distill.core.jsonl import existing
from eval.measures.seam import Figure, Material, mean
from eval.scoring.columns import counted

NEEDS = ("epitome",)
MECHANISMS = ("emotional-reactions", "interpretations", "explorations")
COLUMNS = ("sp_id", "seeker_post", "response_post", "level")
LEVELS = (0, 1, 2)
FOLDS = 5
WORDS = 20_000


@dataclass(frozen=True)
class Coded:
    """A response to a post, and its level."""

    post_id: str
    post: str
    response: str
    level: int


def read_coded(path: Path) -> list[Coded]:
    with existing(path).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lacking = [name for name in COLUMNS if not rows or name not in rows[0]]
    if lacking:
        raise BadInput(f"{path} has no column {lacking[0]}; give the files of EPITOME as published")
    try:
        found = [
            Coded(r["sp_id"], r["seeker_post"], r["response_post"], int(float(r["level"])))
            for r in rows
        ]
    except (TypeError, ValueError) as error:
        raise BadInput(f"{path} holds a level that is no number ({error})") from error
    if {one.level for one in found} != set(LEVELS):
        raise BadInput(f"{path} does not hold all of the levels 0, 1 and 2; give the whole file")
    return found


def reader() -> Any:
    """Words, pairs of words and counts of a response; its post only through the counts."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, max_features=WORDS, sublinear_tf=True)
    parts = [("words", words, 0), ("counts", StandardScaler(), slice(1, None))]
    return make_pipeline(ColumnTransformer(parts), LogisticRegression(max_iter=2000))


def table_of(pairs: Sequence[tuple[str, str]]) -> NDArray[np.object_]:
    """[pairs, 1 + counts]: the response and what is counted in it beside the post."""
    rows = [[response, *counted(post, response).values()] for post, response in pairs]
    return np.array(rows, object)


def figures(material: Material) -> list[Figure]:
    from sklearn.metrics import f1_score
    from sklearn.model_selection import GroupKFold, cross_val_predict

    assert material.epitome
    replies = table_of(
        [
            (dialogue.turns[-1].content, text)
            for dialogue, text in zip(material.dialogues, material.texts, strict=True)
        ]
    )
    found = []
    for mechanism in MECHANISMS:
        coded = read_coded(material.epitome / f"{mechanism}-reddit.csv")
        rows = table_of([(one.post, one.response) for one in coded])
        levels = np.array([one.level for one in coded])
        groups = [one.post_id for one in coded]
        told = cross_val_predict(reader(), rows, levels, groups=groups, cv=GroupKFold(FOLDS))
        macro = f1_score(levels, told, average="macro")
        chances = reader().fit(rows, levels).predict_proba(replies)
        found.append(
            mean(
                f"epitome_{mechanism.replace('-', '_')}",
                chances @ np.array(LEVELS, float),
                material.seed,
                unit="expected level, 0 to 2",
                means=f"{mechanism.replace('-', ' ')} as far as words show them",
                is_not=(
                    f"EPITOME's own model: this one has a macro-F1 of {macro:.2f} on other posts "
                    f"of Reddit, and everyday talk is not Reddit"
                ),
            )
        )
    return found
