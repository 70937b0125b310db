"""Refuse texts that say a run of words again: a sentence twice, or the same words on and on."""

import re
from collections import Counter

from distill.corpora.near_duplicates import words_of
from distill.curating.case import Case, Check, Settings, one_by_one

RUN, OFTEN = 4, 3
SENTENCE_END = re.compile(r"[.!?]+\s+")
SHORT_SENTENCE = 4


def check(settings: Settings) -> Check:
    return one_by_one(lambda case: repeated_sentence(case) or repeated_run(case))


def repeated_sentence(case: Case) -> str | None:
    """A sentence that comes twice; short ones ("Oh no!") may."""
    said = (" ".join(words_of(part)) for part in SENTENCE_END.split(case.response.text))
    for sentence, count in Counter(said).items():
        if count > 1 and sentence.count(" ") + 1 >= SHORT_SENTENCE:
            return f"says {sentence!r} {count} times"
    return None


def repeated_run(case: Case) -> str | None:
    words = words_of(case.response.text)
    runs = Counter(" ".join(words[i : i + RUN]) for i in range(len(words) - RUN + 1))
    run, count = max(runs.items(), key=lambda one: one[1], default=("", 0))
    return f"says {run!r} {count} times" if count >= OFTEN else None
