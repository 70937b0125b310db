"""Refuse what says the same as its original, or as the reply to another dialogue.

Texts are near when their pairs of neighbouring words overlap with a Jaccard index of `THRESHOLD`
or more. Replies are compared within an author and a strategy, because a set for training takes
one strategy: two strategies may come to the same words. The first one of a kind stays.
"""

from distill.corpora.near_duplicates import COUNTED, word_pairs
from distill.corpora.similar_sets import Rarity, SimilarSets, jaccard
from distill.curating.case import Case, Check, Settings, one_by_one

THRESHOLD = 0.8


def check(settings: Settings) -> Check:
    rarity = Rarity()
    for text in settings.texts(COUNTED):
        rarity.see(word_pairs(text))
    posted: dict[tuple[str, str | None], SimilarSets] = {}

    def judge(case: Case) -> str | None:
        pairs = word_pairs(case.response.text)
        if case.original and jaccard(pairs, word_pairs(case.original)) >= THRESHOLD:
            return f"says what {case.response.improves} says"
        kind = (case.response.author, case.response.strategy)
        if kind not in posted:
            posted[kind] = SimilarSets(THRESHOLD, rarity)
        alike = posted[kind]
        if (found := alike.near(pairs)) is not None:
            return f"says what {settings.name_at(found)} says"
        alike.post(case.place, pairs)
        return None

    return one_by_one(judge)
