"""Refuse texts that know what only a teacher may read.

A word has leaked when it stands in a privileged field and in the text, but neither in the
dialogue (nor any word with the same beginning) nor among the ordinary words of replies. Ordinary
are the words that several bundled starter replies use. Feelings are not counted: to name one that
was not named is what empathy is.
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache

from distill.corpora.near_duplicates import words_of
from distill.corpora.starter import read_starter
from distill.curating.case import Case, Check, Settings, one_by_one

FEELINGS = frozenset({"emotion", "feeling", "sentiment", "plutchik"})
CODES = ("miti", "strateg", "intensity")
ORDINARY_DIALOGUES = 3
BEGINNING, SHORTEST = 5, 4


def check(settings: Settings) -> Check:
    return one_by_one(judge)


def judge(case: Case) -> str | None:
    leaked = leaked_words(case)
    return f"knows what the dialogue does not say: {', '.join(leaked)}" if leaked else None


def leaked_words(case: Case) -> list[str]:
    """Words of the text that can only come from a privileged field, in order of the text."""
    told = {
        word
        for name, text in case.privileged.items()
        if name not in FEELINGS and not name.startswith(CODES)
        for word in words_of(text)
    }
    candidates = [word for word in words_of(case.response.text) if word in told]
    if not candidates:
        return []
    said = {word[:BEGINNING] for turn in case.dialogue.turns for word in words_of(turn.content)}
    return list(
        dict.fromkeys(
            word
            for word in candidates
            if len(word) >= SHORTEST
            and word not in ordinary_words()
            and word[:BEGINNING] not in said
        )
    )


@cache
def ordinary_words() -> frozenset[str]:
    seen = Counter(
        word
        for item in read_starter()
        for word in distinct(response.text for response in item.responses)
    )
    return frozenset(word for word, count in seen.items() if count >= ORDINARY_DIALOGUES)


def distinct(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in words_of(text)}
