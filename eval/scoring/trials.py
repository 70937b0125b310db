"""How good a design is: fitted on some dialogues and measured on others, several times.

In: known rows and a design. Out: figures pooled over seeds, each with an interval. As in arXiv
2412.20264 the classes are balanced and a fifth is held out; unlike there all replies to a dialogue
are on one side. Refused: a held-out side that lacks a rating (BadInput).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from distill.core.errors import BadInput
from distill.core.progress import track
from eval.scoring.classifiers import Floats, Labels
from eval.scoring.figures import CLASSES, confusion, figures, pairwise
from eval.scoring.model import Design, Known, RatingModel, fit_model
from eval.scoring.rated import Row, ratings_of

HELD_OUT_SHARE = 0.2
SHUFFLES = 3
# More columns than this say nothing one by one; their importance is measured a family at a time.
MOST_SINGLE = 60


@dataclass(frozen=True)
class Trial:
    """One split: row numbers to learn from, balanced ones to measure on, and all held out."""

    train: Labels
    test: Labels
    held_out: Labels


def split(rows: Sequence[Row], seed: int, *, balanced: bool) -> Trial:
    random = np.random.default_rng(seed)
    names = sorted({row.dialogue_id for row in rows})
    chosen = random.permutation(len(names))[: round(len(names) * HELD_OUT_SHARE)]
    test = {names[number] for number in chosen}
    away = np.array([row.dialogue_id in test for row in rows])
    train, held_out = np.flatnonzero(~away), np.flatnonzero(away)
    if not balanced:
        return Trial(train, held_out, held_out)
    ratings = ratings_of(rows)
    even = [evened(side, ratings[side], random) for side in (train, held_out)]
    return Trial(even[0], even[1], held_out)


def as_many_of_each(rows: Sequence[Row], seed: int) -> Labels:
    """Numbers of rows of all dialogues, as many of each rating as there are of the rarest."""
    return evened(np.arange(len(rows)), ratings_of(rows), np.random.default_rng(seed))


def evened(numbers: Labels, ratings: Labels, random: np.random.Generator) -> Labels:
    """As many rows of each rating as there are of the rarest."""
    counts = Counter(ratings.tolist())
    fewest = min(counts[rating] for rating in CLASSES)
    if not fewest:
        raise BadInput("too few rated replies to hold some of each rating out; gather more")
    drawn = [random.choice(numbers[ratings == rating], fewest, replace=False) for rating in CLASSES]
    return np.sort(np.concatenate(drawn))


def measured(rows: Known, design: Design, seeds: int, *, balanced: bool) -> dict[str, Any]:
    """Pooled figures, accuracy by seed, pairwise agreement, and what the columns weigh."""
    given, told, names = [], [], []
    scores, ratings, apart, by_seed = [], [], [], []
    weights: dict[str, list[float]] = {}
    for seed in track(range(seeds), f"fit ({design.classifier})", seeds):
        trial = split(rows.rows, seed, balanced=balanced)
        model = fit_model(rows.at(trial.train), replace(design, seed=seed))
        test, away = rows.at(trial.test), rows.at(trial.held_out)
        labels = model.told(test)
        by_seed.append(float(np.mean(labels == ratings_of(test.rows))))
        given.append(ratings_of(test.rows))
        told.append(labels)
        names += [row.dialogue_id for row in test.rows]
        scores.append(model.expected(away))
        ratings.append(ratings_of(away.rows))
        apart += [f"{seed} {row.dialogue_id}" for row in away.rows]
        for name, weight in importances(model, test, seed).items():
            weights.setdefault(name, []).append(weight)
    truth, said = np.concatenate(given), np.concatenate(told)
    return {
        "rows": len(truth),
        "seeds": seeds,
        "balanced": balanced,
        **figures(truth, said, names, design.seed),
        "accuracy_by_seed": by_seed,
        "confusion": confusion(truth, said).tolist(),
        "pairwise": pairwise(np.concatenate(scores), np.concatenate(ratings), apart, design.seed),
        "importance": {name: float(np.mean(found)) for name, found in weights.items()},
    }


def importances(model: RatingModel, rows: Known, seed: int) -> dict[str, float]:
    """How much accuracy is lost when a column, or a family of many, is shuffled among the rows."""
    values, truth = model.matrix(rows)[:, model.kept], ratings_of(rows.rows)
    groups: dict[str, list[int]] = {}
    for number, name in enumerate(model.kept_names):
        groups.setdefault(name.partition(":")[0], []).append(number)
    parts = {
        (model.kept_names[number] if single else family): [number] if single else numbers
        for family, numbers in groups.items()
        for single in [len(numbers) <= MOST_SINGLE]
        for number in (numbers if single else numbers[:1])
    }
    right = float(np.mean(model.fitted.predict(values) == truth))
    random = np.random.default_rng(seed)
    return {
        name: right - shuffled(model, values, truth, numbers, random)
        for name, numbers in parts.items()
    }


def shuffled(
    model: RatingModel,
    values: Floats,
    truth: Labels,
    numbers: list[int],
    random: np.random.Generator,
) -> float:
    found = []
    for _ in range(SHUFFLES):
        mixed = values.copy()
        mixed[:, numbers] = values[random.permutation(len(values))][:, numbers]
        found.append(float(np.mean(model.fitted.predict(mixed) == truth)))
    return float(np.mean(found))
