"""Several judges on the same pairs: what most of them say, and how far they agree.

In: the outcome of every pair by judge. Out: the outcome of the panel, and kappas. Nothing is
refused: where there is nothing to agree on, there is no kappa.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from eval.statistics import Outcome

ABSENT = frozenset({"unreadable", "failed"})


def majority(outcomes: Sequence[Outcome]) -> Outcome:
    """What more than half of the judges found; a pair without that is `split`."""
    outcome, count = Counter(outcomes).most_common(1)[0]
    return outcome if 2 * count > len(outcomes) else "split"


def panel_outcomes(by_judge: Mapping[str, Mapping[str, Outcome]]) -> dict[str, Outcome]:
    """The panel's outcome of every dialogue."""
    first = next(iter(by_judge.values()))
    return {name: majority([found[name] for found in by_judge.values()]) for name in first}


def category(outcome: Outcome) -> str:
    """What agreement is measured on: win, loss, or neither."""
    return outcome if outcome in ("win", "loss") else "neither"


def readable(by_judge: Mapping[str, Mapping[str, Outcome]]) -> list[list[str]]:
    """[pairs][judges] categories of the pairs that every judge could read."""
    rows = zip(*(found.values() for found in by_judge.values()), strict=True)
    return [[category(one) for one in row] for row in rows if not ABSENT & set(row)]


def agreement(by_judge: Mapping[str, Mapping[str, Outcome]]) -> dict[str, object]:
    """Cohen's kappa of any two judges, and Fleiss' kappa of all; None where it has no meaning."""
    rows = readable(by_judge)
    pairs = {
        f"{a} and {b}": cohen([row[i] for row in rows], [row[j] for row in rows])
        for (i, a), (j, b) in combinations(enumerate(by_judge), 2)
    }
    return {"pairs": len(rows), "cohen_kappa": pairs, "fleiss_kappa": fleiss(rows)}


def cohen(first: Sequence[object], second: Sequence[object]) -> float | None:
    """Agreement of two beyond chance; None when both said one thing only."""
    from sklearn.metrics import cohen_kappa_score

    if len({*first, *second}) < 2:
        return None
    return float(cohen_kappa_score(first, second))


def fleiss(rows: Sequence[Sequence[str]]) -> float | None:
    """Agreement of all beyond chance (Fleiss, 1971); None when they said one thing only."""
    names = sorted({said for row in rows for said in row})
    if len(names) < 2:
        return None
    counts = np.array([[row.count(name) for name in names] for row in rows], float)
    judges = counts.sum(1)[0]
    observed = float(((counts**2).sum(1) - judges).mean() / (judges * (judges - 1)))
    shares = counts.sum(0) / counts.sum()
    expected = float((shares**2).sum())
    return (observed - expected) / (1 - expected)
