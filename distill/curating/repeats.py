"""Refuse what says the same as its original, or as the reply to another dialogue.

Texts are near when their pairs of neighbouring words overlap with a Jaccard index of `THRESHOLD`
or more. Replies are compared within an author and a strategy, because a set for training takes
one strategy: two strategies may come to the same words. The first one of a kind stays.
"""

import itertools

from distill.corpora.near_duplicates import COUNTED, word_pairs, words_of
from distill.corpora.similar_sets import Members, Rarity, SimilarSets, jaccard, members_of
from distill.curating.case import Case, Check, Settings, one_by_one

THRESHOLD = 0.8


def check(settings: Settings) -> Check:
    rarity = Rarity()
    for text in settings.texts(COUNTED):
        rarity.see(word_pairs(text))
    posted = SimilarSets(THRESHOLD, rarity)

    def judge(case: Case) -> str | None:
        text = case.response.text
        if case.original and jaccard(word_pairs(text), word_pairs(case.original)) >= THRESHOLD:
            return f"says what {case.response.improves} says"
        pairs = marked_pairs(case)
        if (found := posted.near(pairs)) is not None:
            return f"says what {settings.name_at(found)} says"
        posted.post(case.place, pairs)
        return None

    return one_by_one(judge)


def marked_pairs(case: Case) -> Members:
    """Pairs of neighbouring words that only the same author and strategy can share."""
    by = (case.response.author, case.response.strategy)
    words = ["", *words_of(case.response.text), ""]
    return members_of((by, pair) for pair in itertools.pairwise(words))
