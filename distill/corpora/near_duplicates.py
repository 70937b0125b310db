"""Dialogues of two splits that tell nearly the same story, found exactly.

In: items. Out: the items to keep, and for each one dropped the item that it is too near to.
Two dialogues are near when the pairs of neighbouring words in what their users say overlap
with a Jaccard index of `THRESHOLD` or more; `similar_sets` says how they are found.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing

from distill.core.records import SPLITS, Split, Turn
from distill.corpora.item import Item
from distill.corpora.similar_sets import Members, Rarity, SimilarSets, jaccard, members_of

__all__ = ["THRESHOLD", "drop_near_duplicates", "jaccard", "near_duplicates"]

THRESHOLD = 0.5
WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
Said = Callable[[Split], Iterable[tuple[int, str]]]
RANK = {split: rank for rank, split in enumerate(SPLITS)}
# How rare a pair of words is, is counted on so many dialogues at most.
COUNTED = 50_000


def words_of(text: str) -> list[str]:
    return WORD.findall(text.replace("\u2019", "'").casefold())


def word_pairs(text: str) -> Members:
    """Pairs of neighbouring words, with the edges marked."""
    return members_of(itertools.pairwise(["", *words_of(text), ""]))


def said_by_user(turns: Iterable[Turn]) -> str:
    return " ".join(turn.content for turn in turns if turn.role == "user")


def shingles_of(item: Item) -> Members:
    """Pairs of neighbouring words of the user's turns."""
    return word_pairs(said_by_user(item.dialogue.turns))


def near_duplicates(said: Said, threshold: float = THRESHOLD) -> dict[int, int]:
    """Places of what is near to a split that comes later in train, valid, test; never within one.

    `said` gives place and text of a split, and is asked twice. From test down to train, so that
    a dropped dialogue drops nothing itself.
    """
    rarity = Rarity()
    every = itertools.chain.from_iterable(said(split) for split in reversed(SPLITS))
    for _, text in itertools.islice(every, COUNTED):
        rarity.see(word_pairs(text))
    dropped: dict[int, int] = {}
    with closing(SimilarSets(threshold, rarity)) as posted:
        for split in reversed(SPLITS):
            rank = RANK[split]
            for place, text in said(split):
                shingles = word_pairs(text)
                if (found := posted.near(shingles, above=rank)) is not None:
                    dropped[place] = found
                elif rank:
                    posted.post(place, shingles, part=rank)
    return dropped


def drop_near_duplicates(
    items: Sequence[Item], threshold: float = THRESHOLD
) -> tuple[list[Item], dict[str, str]]:
    """The items that stay, and the id that each dropped id is near to."""

    def said(split: Split) -> Iterator[tuple[int, str]]:
        for place, item in enumerate(items):
            if item.dialogue.split == split:
                yield place, said_by_user(item.dialogue.turns)

    dropped = near_duplicates(said, threshold)
    kept = [item for place, item in enumerate(items) if place not in dropped]
    return kept, {items[a].dialogue.id: items[b].dialogue.id for a, b in dropped.items()}
