"""The win rate that would be left between replies of equal length.

In: outcomes of pairs and the difference of their lengths in words. Out: the rate of a logistic
regression at no difference, with an interval over dialogues. Our own fit on the judged pairs, in
the spirit of length-controlled AlpacaEval: log-odds of a win = a + b tanh(difference / spread),
over decided pairs, so the rate at equal length is sigmoid(a). Nothing is refused: too few pairs
have no rate.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEWEST = 10
RESAMPLES = 1000
STEPS = 12
# Half a pair of each kind on either side of the length keeps a clean sweep finite.
RIDGE = np.array([0.05, 0.5])


@dataclass(frozen=True)
class LengthControl:
    """`rate` at equal length, its 95 % interval, and what a much longer reply adds in log-odds."""

    rate: float
    low: float
    high: float
    slope: float


def length_controlled(won: Floats, longer_by: Floats, seed: int) -> LengthControl | None:
    """The controlled rate of decided pairs; None below `FEWEST`.

    `won` [pairs] is 1 or 0, `longer_by` [pairs] the words by which the first reply is longer.
    Mirrored pairs give the mirrored rate. One pair is one dialogue, so pairs are resampled.
    """
    if len(won) < FEWEST:
        return None
    spread = float(np.sqrt(np.mean(longer_by**2))) or 1.0
    rows = np.stack([np.ones(len(won)), np.tanh(longer_by / spread)], axis=1)
    fitted = fit(rows, won, np.ones((1, len(won))))[0]
    random = np.random.default_rng(seed)
    weights = random.multinomial(len(won), np.full(len(won), 1 / len(won)), RESAMPLES)
    resampled = sigmoid(fit(rows, won, weights.astype(float))[:, 0])
    low, high = np.quantile(resampled, [0.025, 0.975])
    return LengthControl(float(sigmoid(fitted[0])), float(low), float(high), float(fitted[1]))


def fit(rows: Floats, won: Floats, weights: Floats) -> Floats:
    """[resamples, 2] coefficients of a ridge logistic regression for each row of weights."""
    found = np.zeros((len(weights), 2))
    for _ in range(STEPS):
        chance = sigmoid(found @ rows.T)
        slope = (weights * (won - chance)) @ rows - RIDGE * found
        curve = np.einsum("rp,pi,pj->rij", weights * chance * (1 - chance), rows, rows)
        found = found + np.linalg.solve(curve + np.diag(RIDGE), slope[..., None])[..., 0]
    return found


def sigmoid(values: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return result
