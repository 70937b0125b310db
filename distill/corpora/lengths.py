"""Length distributions, in words: one home for what `gather --stats` and the card report."""

import bisect
import itertools
from collections import Counter
from collections.abc import Iterable

Distribution = dict[str, float]
QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


def words_in(text: str) -> int:
    return len(text.split())


def distribution(lengths: Iterable[int]) -> Distribution:
    """Count, mean, quantiles (nearest rank) and extremes; only the count when there is nothing."""
    counted = sorted(Counter(lengths).items())
    count = sum(n for _, n in counted)
    if not count:
        return {"count": 0}
    ranks = list(itertools.accumulate(n for _, n in counted))

    def at(rank: int) -> int:
        return counted[bisect.bisect_right(ranks, rank)][0]

    return {
        "count": count,
        "mean": round(sum(length * n for length, n in counted) / count, 2),
        "min": counted[0][0],
        **{name: at(round(share * (count - 1))) for name, share in QUANTILES.items()},
        "max": counted[-1][0],
    }
