"""How well ratings are told from replies, with intervals over dialogues.

In: ratings as given and as told, and the dialogue of each. Out: accuracy, macro-F1 and quadratic
kappa; the share of decided pairs in the right order. Nothing is refused.
"""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]
RESAMPLES = 1000
CLASSES = (1, 2, 3)


def confusion(given: Labels, told: Labels) -> Floats:
    """[given, told] counts of the ratings 1 to 3."""
    table = np.zeros((3, 3))
    np.add.at(table, (given - 1, told - 1), 1)
    return table


def accuracy(tables: Floats) -> Floats:
    """Of [..., 3, 3] tables, as each figure here."""
    found: Floats = np.einsum("...ii->...", tables) / tables.sum((-1, -2))
    return found


def macro_f1(tables: Floats) -> Floats:
    right = np.einsum("...ii->...i", tables)
    found: Floats = (2 * right / np.maximum(tables.sum(-1) + tables.sum(-2), 1)).mean(-1)
    return found


def quadratic_kappa(tables: Floats) -> Floats:
    """Agreement beyond chance in which a miss by two weighs four times one by one."""
    weights = np.subtract.outer(np.arange(3), np.arange(3)) ** 2
    rows, columns = tables.sum(-1), tables.sum(-2)
    chance = rows[..., :, None] * columns[..., None, :] / tables.sum((-1, -2))[..., None, None]
    found: Floats = 1 - (weights * tables).sum((-1, -2)) / (weights * chance).sum((-1, -2))
    return found


FIGURES: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "quadratic_kappa": quadratic_kappa,
}


def figures(
    given: Labels, told: Labels, dialogues: Sequence[str], seed: int
) -> dict[str, dict[str, object]]:
    """Each figure with its 95 % interval; all rows of a dialogue are drawn together."""
    names, where = np.unique(np.array(dialogues), return_inverse=True)
    by_dialogue = np.zeros((len(names), 3, 3))
    np.add.at(by_dialogue, (where, given - 1, told - 1), 1)
    draws = np.random.default_rng(seed).multinomial(
        len(names), np.full(len(names), 1 / len(names)), RESAMPLES
    )
    tables = np.tensordot(draws.astype(float), by_dialogue, 1)
    whole = by_dialogue.sum(0)
    found: dict[str, dict[str, object]] = {}
    for name, figure in FIGURES.items():
        low, high = np.quantile(figure(tables), [0.025, 0.975])
        found[name] = {"value": float(figure(whole)), "interval": [float(low), float(high)]}
    return found


def pairwise(
    scores: Floats, ratings: Labels, dialogues: Sequence[str], seed: int
) -> dict[str, object]:
    """Share of decided pairs of a dialogue that scores order rightly; equal ones are half."""
    right, counts = [], []
    place: dict[str, list[int]] = {}
    for number, name in enumerate(dialogues):
        place.setdefault(name, []).append(number)
    for rows in place.values():
        pairs = [(a, b) for a, b in combinations(rows, 2) if ratings[a] != ratings[b]]
        signs = [(ratings[a] - ratings[b]) * (scores[a] - scores[b]) for a, b in pairs]
        right.append(sum((sign > 0) + 0.5 * (sign == 0) for sign in signs))
        counts.append(len(pairs))
    sums, totals = np.array(right, float), np.array(counts, float)
    draws = np.random.default_rng(seed).multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLES
    )
    shares = (draws @ sums) / np.maximum(draws @ totals, 1)
    low, high = np.quantile(shares, [0.025, 0.975])
    agreed = float(sums.sum() / totals.sum()) if totals.sum() else None
    return {"agreement": agreed, "interval": [float(low), float(high)], "pairs": int(totals.sum())}
