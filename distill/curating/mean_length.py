"""Refuse the longest texts until those that stay have the mean that is asked for.

In: how many kept texts there are of each length. Out: how many of each length to refuse. The
mean of what stays is then at most the one asked for, and one text fewer would not do.
"""

from collections.abc import Mapping


def mean_of(lengths: Mapping[int, int]) -> float | None:
    count = sum(lengths.values())
    return sum(words * number for words, number in lengths.items()) / count if count else None


def to_refuse(lengths: Mapping[int, int], mean: float) -> dict[int, int]:
    """Number of texts to refuse by length in words, the longest first."""
    count = sum(lengths.values())
    total = sum(words * number for words, number in lengths.items())
    refused: dict[int, int] = {}
    for words in sorted(lengths, reverse=True):
        excess = total - mean * count
        if excess <= 1e-9 or words <= mean:
            break
        # Each text of this length that goes lowers the excess by what it is above the mean.
        number = min(lengths[words], -int(-(excess - 1e-9) // (words - mean)))
        refused[words] = number
        total, count = total - words * number, count - number
    return refused
