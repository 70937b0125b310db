"""Dialogues of two splits that tell nearly the same story, found exactly.

In: items. Out: the items to keep, and for each one dropped the item that it is too near to.
Two dialogues are near when the pairs of neighbouring words in what their users say overlap
with a Jaccard index of `THRESHOLD` or more. No pair is missed and none is estimated: rare
pairs of words are looked up first, and sets that share at least t of their union must share
one of their n - ceil(t n) + 1 rarest members (prefix filtering, Bayardo, Ma and Srikant 2007,
"Scaling up all pairs similarity search"). A library would be datasketch (MinHash, an estimate,
with numpy and scipy) in a command that otherwise needs neither.
"""

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from distill.core.records import SPLITS
from distill.corpora.item import Item

THRESHOLD = 0.5
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
RANK = {split: rank for rank, split in enumerate(SPLITS)}
Shingles = frozenset[tuple[str, ...]]


def shingles_of(item: Item) -> Shingles:
    """Pairs of neighbouring words of the user's turns, with the edges marked."""
    said = " ".join(turn.content for turn in item.dialogue.turns if turn.role == "user")
    words = ["", *WORD.findall(said.replace("\u2019", "'").casefold()), ""]
    return frozenset(itertools.pairwise(words))


def jaccard(left: Shingles, right: Shingles) -> float:
    shared = len(left & right)
    return shared / (len(left) + len(right) - shared)


def drop_near_duplicates(
    items: Sequence[Item], threshold: float = THRESHOLD
) -> tuple[list[Item], dict[str, str]]:
    """Drop what is near to a split that comes later in train, valid, test; never within one."""
    shingles = [shingles_of(item) for item in items]
    prefixes = list(rarest(shingles, threshold))
    ranks = [RANK[item.dialogue.split] for item in items]
    index: dict[tuple[str, ...], list[int]] = {}
    dropped: dict[int, int] = {}
    # From test down to train, so that a dropped dialogue drops nothing itself.
    for rank in sorted(RANK.values(), reverse=True):
        mine = [place for place in range(len(items)) if ranks[place] == rank]
        for place in mine:
            near = {found for pair in prefixes[place] for found in index.get(pair, ())}
            for found in sorted(near):
                if jaccard(shingles[place], shingles[found]) >= threshold:
                    dropped[place] = found
                    break
        if rank:
            for place in mine:
                if place not in dropped:
                    for pair in prefixes[place]:
                        index.setdefault(pair, []).append(place)
    kept = [item for place, item in enumerate(items) if place not in dropped]
    return kept, {items[a].dialogue.id: items[b].dialogue.id for a, b in dropped.items()}


def rarest(shingles: Sequence[Shingles], threshold: float) -> Iterator[list[tuple[str, ...]]]:
    """The members of each set that a set near to it must share one of."""
    seen = Counter(pair for pairs in shingles for pair in pairs)
    for pairs in shingles:
        # The margin keeps a product such as 0.6 * 5 from being rounded up to 4.
        length = len(pairs) - math.ceil(threshold * len(pairs) - 1e-9) + 1
        yield sorted(pairs, key=lambda pair: (seen[pair], pair))[:length]
