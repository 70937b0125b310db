"""Counts and rates of judged pairs, and intervals of these and of any other figure.

In: the outcome of every pair, or things to resample. Out: a `Tally`, its rates, intervals. An
empty tally has no rate: what was not read is counted, shown, and never scored.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from distill.core.records import Verdict

Outcome = Literal["win", "loss", "tie", "flip", "unreadable", "failed", "split"]
Indices = NDArray[np.int64]
RESAMPLES = 10_000
RESAMPLES_OF_A_FIGURE = 1000
LEVEL = 0.95
Z = 1.959963984540054  # the 97.5 % point of the standard normal
Z_POWER = 0.8416212335729143  # its 80 % point
Finding = Literal["better", "worse", "not distinguishable"]


@dataclass(frozen=True)
class Tally:
    """How the pairs ended, seen from the first candidate.

    A flip is a verdict that the swap changed, a split a pair without a majority of a panel.
    """

    wins: int = 0
    losses: int = 0
    ties: int = 0
    flips: int = 0
    unreadable: int = 0
    failed: int = 0
    split: int = 0

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def pairs(self) -> int:
        rest = self.ties + self.flips + self.unreadable + self.failed + self.split
        return self.decided + rest

    @property
    def win_rate(self) -> float | None:
        """Wins among decided pairs; None when nothing was decided."""
        return self.wins / self.decided if self.decided else None

    @property
    def even(self) -> int:
        """Pairs that were read and that neither won: ties, flips, and splits of a panel."""
        return self.ties + self.flips + self.split

    @property
    def share(self) -> float | None:
        """Wins and half of the even pairs, of all that were read; the other's share is the rest."""
        read = self.decided + self.even
        return (self.wins + self.even / 2) / read if read else None


@dataclass(frozen=True)
class Interval:
    """Bounds of a share, and the method that gave them."""

    low: float
    high: float
    method: Literal["bootstrap", "wilson", "bca"]


def outcome_of(straight: Verdict | None, swapped: Verdict | None) -> Outcome:
    """One pair from its verdicts in both orders; None is a call that failed."""
    if straight is None or swapped is None:
        return "failed"
    mine, back = straight.side, swapped.swapped().side
    if "unreadable" in (mine, back):
        return "unreadable"
    if mine != back:
        return "flip"
    outcomes: dict[str, Outcome] = {"first": "win", "second": "loss", "tie": "tie"}
    return outcomes[mine]


def outcome_of_one(verdict: Verdict | None) -> Outcome:
    """One pair from a single order, as the first paper judged; whoever stands first gains by it."""
    if verdict is None:
        return "failed"
    outcomes: dict[str, Outcome] = {"first": "win", "second": "loss", "tie": "tie"}
    return outcomes.get(verdict.side, "unreadable")


def tally(outcomes: Iterable[Outcome]) -> Tally:
    """Count outcomes of pairs; what was never judged is counted and in no rate."""
    found = Counter(outcomes)
    return Tally(
        wins=found["win"],
        losses=found["loss"],
        ties=found["tie"],
        flips=found["flip"],
        unreadable=found["unreadable"],
        failed=found["failed"],
        split=found["split"],
    )


def win_rate_interval(counts: Tally) -> Interval | None:
    """95 % interval of the win rate over dialogues; None when nothing was decided.

    Each dialogue gives one pair, so the wins are binomial, and Wilson's interval holds 94.9 to
    95.7 % of the time from 20 pairs on and at rates of 50 to 90 %, where a percentile bootstrap
    falls to 76 % and BCa to 75 % (`tests/benchmarks/interval_coverage.py`).
    """
    return wilson(counts.wins, counts.decided) if counts.decided else None


def share_interval(counts: Tally, seed: int) -> Interval | None:
    """95 % interval of `Tally.share` over dialogues; None when nothing was read.

    Bayesian bootstrap over dialogues, with half a pair added to either side: the weights of the
    three endings are Dirichlet. It is that of the win rate when no pair ended even.
    """
    if not counts.even:
        return win_rate_interval(counts)
    random = np.random.default_rng(seed)
    won, even, lost = (
        random.standard_gamma(weight, RESAMPLES)
        for weight in (counts.wins + 0.5, counts.even, counts.losses + 0.5)
    )
    low, high = np.quantile((won + even / 2) / (won + even + lost), edges())
    return Interval(float(low), float(high), "bootstrap")


def edges() -> list[float]:
    return [(1 - LEVEL) / 2, (1 + LEVEL) / 2]


def bootstrap(
    count: int,
    statistic: Callable[[Indices], float],
    seed: int,
    resamples: int = RESAMPLES_OF_A_FIGURE,
) -> Interval | None:
    """95 % interval of any figure of `count` things (dialogues, replies); None for fewer than two.

    `statistic` gives the figure of the things with these numbers, some of them more than once.
    Bias-corrected and accelerated (Efron, 1987): the plain percentiles lie too near for few things.
    """
    if count < 2:
        return None
    random, normal = np.random.default_rng(seed), NormalDist()
    every = np.arange(count)
    drawn = random.integers(count, size=(resamples, count))
    found = np.array([statistic(numbers) for numbers in drawn])
    whole = statistic(every)
    below = float(np.mean(found < whole) + np.mean(found == whole) / 2)
    bias = normal.inv_cdf(min(max(below, 0.5 / resamples), 1 - 0.5 / resamples))
    left_out = np.array([statistic(np.delete(every, number)) for number in every])
    pull = left_out.mean() - left_out
    spread = float(np.sum(pull**2)) ** 1.5
    bend = float(np.sum(pull**3)) / (6 * spread) if spread else 0.0
    moved = (bias + (bias + z) / (1 - bend * (bias + z)) for z in (-Z, Z))
    low, high = np.quantile(found, [normal.cdf(z) for z in moved])
    return Interval(float(low), float(high), "bca")


def sign_test(counts: Tally) -> float | None:
    """Two-sided exact probability of so uneven an outcome if both candidates were equal."""
    if not counts.decided:
        return None
    fewer = min(counts.wins, counts.losses)
    tail: int = sum(math.comb(counts.decided, wins) for wins in range(fewer + 1))
    return min(1.0, float(tail * 2 / 2**counts.decided))


def finding(counts: Tally, interval: Interval | None) -> Finding:
    """What may be said of the first candidate: both the interval and the sign test must agree."""
    chance = sign_test(counts)
    if interval is None or chance is None or chance >= 1 - LEVEL:
        return "not distinguishable"
    if interval.low > 0.5:
        return "better"
    return "worse" if interval.high < 0.5 else "not distinguishable"


def detectable(decided: int) -> float | None:
    """The smallest win rate above one half that so many decided pairs show four times in five."""
    if not decided:
        return None
    return min(1.0, 0.5 + (Z + Z_POWER) * 0.5 / math.sqrt(decided))


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval at 95 %."""
    share = successes / trials
    center = share + Z * Z / (2 * trials)
    spread = Z * math.sqrt(share * (1 - share) / trials + Z * Z / (4 * trials * trials))
    scale = 1 + Z * Z / trials
    low, high = (center - spread) / scale, (center + spread) / scale
    return Interval(max(0.0, low), min(1.0, high), "wilson")


def quantile(values: Sequence[float], share: float) -> float:
    return float(np.quantile(np.asarray(values), share))
