"""Counts and rates of judged pairs, with intervals.

In: the outcome of every pair. Out: a `Tally`, its rate and an interval over dialogues. An empty
tally has no rate: what was not decided is counted, shown, and never scored.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from distill.core.records import Verdict

Outcome = Literal["win", "loss", "tie", "flip", "unreadable", "failed"]
RESAMPLES = 10_000
LEVEL = 0.95
Z = 1.959963984540054  # the 97.5 % point of the standard normal


@dataclass(frozen=True)
class Tally:
    """How the pairs ended, seen from the first candidate; a flip is a verdict the swap changed."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    flips: int = 0
    unreadable: int = 0
    failed: int = 0

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def pairs(self) -> int:
        return self.decided + self.ties + self.flips + self.unreadable + self.failed

    @property
    def win_rate(self) -> float | None:
        """Wins among decided pairs; None when nothing was decided."""
        return self.wins / self.decided if self.decided else None


@dataclass(frozen=True)
class Interval:
    low: float
    high: float
    method: Literal["bootstrap", "wilson"]


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


def tally(outcomes: Iterable[Outcome]) -> Tally:
    found = Counter(outcomes)
    return Tally(
        wins=found["win"],
        losses=found["loss"],
        ties=found["tie"],
        flips=found["flip"],
        unreadable=found["unreadable"],
        failed=found["failed"],
    )


def win_rate_interval(counts: Tally, seed: int) -> Interval | None:
    """95 % interval of the win rate over dialogues; None when nothing was decided.

    Percentile bootstrap over dialogues. Each dialogue gives one pair, so a resample is a draw of
    counts (win, loss, rest) and needs no loop. When all decided pairs agree, every resample does
    too and would claim certainty: then it is Wilson's interval.
    """
    if not counts.decided:
        return None
    if not (counts.wins and counts.losses):
        return wilson(counts.wins, counts.decided)
    shares = np.array([counts.wins, counts.losses, counts.pairs - counts.decided]) / counts.pairs
    draws = np.random.default_rng(seed).multinomial(counts.pairs, shares, RESAMPLES)
    decided = draws[:, 0] + draws[:, 1]
    rates = draws[decided > 0, 0] / decided[decided > 0]
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), "bootstrap")


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
