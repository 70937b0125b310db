"""Whether 95 % intervals hold what they say, for judges that are simulated, and exactly.

    python -m tests.benchmarks.interval_coverage

A judge decides 70 % of the pairs, with a known chance for the first candidate. How often an
interval holds that chance is summed over all endings that can be, weighed by how likely they are,
so nothing here is drawn (aim: 94 to 96 %). Four intervals stand side by side: percentile bootstrap,
BCa bootstrap, a Beta with half a pair on either side (Jeffreys), and the one that is used, which is
Wilson's, by the very function (`eval.statistics.win_rate_interval`). Below: how often two equal
candidates stay "not distinguishable", and how often 200 comparisons of such keep at least 94 % so.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import stats

from eval.statistics import LEVEL, Tally, finding, win_rate_interval

Floats = NDArray[np.float64]
Ends = tuple[Floats, Floats]
PAIRS = (20, 50, 100, 250, 1000)
CHANCES = (0.5, 0.6, 0.75, 0.9)
DECIDED = 0.7
UNLIKELY = 1e-7
LOW, HIGH = (1 - LEVEL) / 2, (1 + LEVEL) / 2
Z = stats.norm.ppf(HIGH)


def percentile(wins: Floats, decided: Floats) -> Ends:
    """The quantiles of a resampled rate, which is binomial."""
    share = wins / decided
    return (
        stats.binom.ppf(LOW, decided, share) / decided,
        stats.binom.ppf(HIGH, decided, share) / decided,
    )


def bca(wins: Floats, decided: Floats) -> Ends:
    """Bias-corrected and accelerated, in closed form for a rate (Efron, 1987)."""
    share = wins / decided
    below = stats.binom.cdf(wins - 1, decided, share) + stats.binom.pmf(wins, decided, share) / 2
    bias = stats.norm.ppf(np.clip(below, 1e-4, 1 - 1e-4))
    spread = np.sqrt(np.maximum(decided * share * (1 - share), 1e-12))
    bend = (1 - 2 * share) / (6 * spread)
    at = [stats.norm.cdf(bias + (bias + z) / (1 - bend * (bias + z))) for z in (-Z, Z)]
    low, high = (stats.binom.ppf(np.clip(one, 0, 1), decided, share) / decided for one in at)
    return low, high


def jeffreys(wins: Floats, decided: Floats) -> Ends:
    """Also the limit of a Bayesian bootstrap."""
    either = wins + 0.5, decided - wins + 0.5
    return stats.beta.ppf(LOW, *either), stats.beta.ppf(HIGH, *either)


def ours(wins: Floats, decided: Floats) -> Ends:
    held = [
        win_rate_interval(Tally(wins=int(won), losses=int(of - won)))
        for won, of in zip(wins, decided, strict=True)
    ]
    ends = np.array([(one.low, one.high) for one in held if one])
    return ends[:, 0], ends[:, 1]


INTERVALS = {"percentile": percentile, "BCa": bca, "Beta": jeffreys, "Wilson (ours)": ours}


def endings(pairs: int, chance: float) -> tuple[Floats, Floats, Floats]:
    """Wins, decided pairs and weight of every ending that is not next to impossible."""
    every = np.arange(1, pairs + 1)
    likely = every[stats.binom.pmf(every, pairs, DECIDED) > UNLIKELY]
    wins = np.concatenate([np.arange(n + 1) for n in likely])
    decided = np.repeat(likely, likely + 1)
    weight = stats.binom.pmf(decided, pairs, DECIDED) * stats.binom.pmf(wins, decided, chance)
    kept = weight > UNLIKELY / pairs
    weight = weight[kept] / weight[kept].sum()
    return wins[kept].astype(float), decided[kept].astype(float), weight


def coverage(pairs: int, chance: float, interval: Callable[[Floats, Floats], Ends]) -> float:
    wins, decided, weight = endings(pairs, chance)
    low, high = interval(wins, decided)
    return float(weight[(low <= chance) & (chance <= high)].sum())


def kept_together(pairs: int) -> float:
    """How likely two equal candidates are not told apart, by the very function that tells."""
    wins, decided, weight = endings(pairs, 0.5)
    likely = weight > UNLIKELY
    told = 0.0
    for won, of, how in zip(wins[likely], decided[likely], weight[likely], strict=True):
        counts = Tally(wins=int(won), losses=int(of - won), ties=int(pairs - of))
        if finding(counts, win_rate_interval(counts)) != "not distinguishable":
            told += how
    return 1 - told


def main() -> None:
    table = Table("interval", "pairs", *(f"holds {chance:.0%}" for chance in CHANCES), "mean")
    for name, interval in INTERVALS.items():
        for pairs in PAIRS:
            shares = [coverage(pairs, chance, interval) for chance in CHANCES]
            row = [f"{share:.1%}" for share in (*shares, sum(shares) / len(shares))]
            table.add_row(name, str(pairs), *row)
    equal = Table("pairs", "equal candidates kept together", "200 comparisons keep 94 % of them")
    for pairs in PAIRS[:-1]:
        kept = kept_together(pairs)
        often = stats.binom.sf(187, 200, kept)
        equal.add_row(str(pairs), f"{kept:.1%}", f"{often:.1%} of the time")
    Console().print(table, equal)


if __name__ == "__main__":
    main()
