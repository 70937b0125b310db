"""Distinct-1 and Distinct-2 (arXiv 1510.03055): different n-grams among all n-grams.

In: replies. Out: one ratio for words and one for pairs of words, with jackknife intervals, for a
bootstrap that draws a reply twice finds fewer different n-grams by that alone. Nothing is refused.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from eval.measures.seam import Figure, Material
from eval.replies import ngrams
from eval.statistics import Z

NEEDS: tuple[str, ...] = ()


def distinct(texts: Sequence[str], size: int) -> tuple[float, tuple[float, float] | None] | None:
    """The ratio and its interval; None without any n-gram."""
    grams = [ngrams(text, size) for text in texts]
    held = Counter(gram for one in grams for gram in set(one))
    counts = np.array([len(one) for one in grams], float)
    own = np.array([sum(held[gram] == 1 for gram in set(one)) for one in grams], float)
    total = counts.sum()
    if not total:
        return None
    whole, left = len(held) / total, total - counts
    if len(texts) < 2 or not left.all():
        return whole, None
    without = (len(held) - own) / left
    count = len(texts)
    error = float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))
    return whole, (max(0.0, whole - Z * error), min(1.0, whole + Z * error))


def figures(material: Material) -> list[Figure]:
    found = []
    for size in (1, 2):
        share, interval = distinct(material.texts, size) or (None, None)
        found.append(
            Figure(
                f"distinct_{size}",
                share,
                f"different among all {'words' if size == 1 else 'pairs of words'}",
                len(material.texts),
                "variety over all replies together",
                "comparable between other numbers of replies, or replies of other lengths: it "
                "falls as text grows",
                interval,
                interval and "jackknife",
            )
        )
    return found
