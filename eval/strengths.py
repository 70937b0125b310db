"""How strong each of many candidates is, from all pairs of them at once (Bradley and Terry, 1952).

In: wins of each candidate over each, by dialogue. Out: strengths in log-odds with a mean of zero,
and intervals from resampling dialogues, all pairs of a dialogue together. Nothing is refused: a
candidate without a decided pair has the strength of the prior.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 1000
STEPS = 200
# A quarter of a win either way between any two: a candidate that never lost stays finite.
PRIOR = 0.25


@dataclass(frozen=True)
class Strength:
    """Log-odds against the average candidate, and the mean chance to win against the others."""

    candidate: str
    log_odds: float
    low: float
    high: float
    chance: float


def strengths(candidates: list[str], wins: Floats, seed: int) -> list[Strength]:
    """`wins` [dialogues, candidates, candidates]: 1 where the row's candidate beat the column's."""
    count = len(wins)
    fitted = fit(wins.sum(0)[None])[0]
    weights = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    resampled = fit(np.einsum("rd,dij->rij", weights.astype(float), wins))
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return [
        Strength(name, float(fitted[i]), float(low[i]), float(high[i]), chance(fitted, i))
        for i, name in enumerate(candidates)
    ]


def fit(wins: Floats) -> Floats:
    """[resamples, candidates] log-odds by minorization-maximization (Hunter, 2004)."""
    size = wins.shape[1]
    wins = wins + PRIOR * (1 - np.eye(size))
    games = wins + wins.transpose(0, 2, 1)
    worth = np.ones((len(wins), size))
    for _ in range(STEPS):
        share = games / (worth[:, :, None] + worth[:, None, :])
        worth = wins.sum(2) / share.sum(2)
        worth /= np.exp(np.log(worth).mean(1, keepdims=True))
    found: Floats = np.log(worth)
    return found


def chance(log_odds: Floats, mine: int) -> float:
    others = np.delete(log_odds, mine)
    return float(np.mean(1 / (1 + np.exp(others - log_odds[mine]))))
