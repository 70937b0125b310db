"""Length distributions, in words: one home for what `gather --stats` and the card report."""

from collections.abc import Iterable

Distribution = dict[str, float]
QUANTILES = {"p5": 0.05, "median": 0.5, "p95": 0.95}


def words_in(text: str) -> int:
    return len(text.split())


def distribution(lengths: Iterable[int]) -> Distribution:
    """Count, mean, quantiles (nearest rank) and extremes; only the count when there is nothing."""
    ordered = sorted(lengths)
    count = len(ordered)
    if not count:
        return {"count": 0}
    return {
        "count": count,
        "mean": round(sum(ordered) / count, 2),
        "min": ordered[0],
        **{name: ordered[round(share * (count - 1))] for name, share in QUANTILES.items()},
        "max": ordered[-1],
    }
