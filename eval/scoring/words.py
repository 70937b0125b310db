"""Text as sentences, words and stems.

In: any text. Out: lower-case words with straight apostrophes; sentences without their end marks;
stems of content words, so that "ploughed" meets "plough". Nothing is refused.
"""

import itertools
import re
from collections.abc import Sequence
from functools import lru_cache

WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)*")
SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'"})


def listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOP = listed(
    """
    a about after again ah all also am an and any anything are aren't as at be because been before
    being but by can can't cannot could couldn't did didn't do does doesn't doing don't done down
    each else ever every few for from get gets getting go goes going gone got had hadn't has hasn't
    have haven't having he he'd he'll he's her here here's hers herself hey hi him himself his how i
    i'd i'll i'm i've if im in into is isn't it it'll it's its itself just know let let's like lol
    made make makes many may maybe me mean might more most much must my myself never no nor not
    nothing now of off oh ok okay on once one only or other our ours out over own really right same
    she she'd she'll she's should shouldn't so some someone something such sure take than that
    that's thats the their theirs them themselves then there there's these they they'd they'll
    they're they've thing things think this those though through to too two under until up us very
    was wasn't we we'd we'll we're we've well went were weren't what what's when where which while
    who who's whom why will with without won't would wouldn't yeah yes yet you you'd you'll you're
    you've your yours yourself dont didnt cant ive thats hes shes theres wont isnt u ur
    """
)


def plain(text: str) -> str:
    """The text with straight apostrophes, so that every table meets the same letters."""
    return text.translate(APOSTROPHES)


def words_of(text: str) -> list[str]:
    return WORD.findall(plain(text).lower())


def sentences_of(text: str) -> list[str]:
    """Sentences with their end marks, in order."""
    parts = (part.strip() for part in SENTENCE.findall(plain(text)))
    return [part for part in parts if WORD.search(part.lower())]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A rough stem: possessive, plural, -ed, -ing, a doubled consonant and a final e fall away."""
    word = word.split("'")[0]
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        if len(word) > len(ending) + 2 and word.endswith(ending):
            word = word[: -len(ending)]
            if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    return word[:-1] if len(word) > 3 and word.endswith("e") else word


def content_stems(words: Sequence[str]) -> list[str]:
    """Stems of the words that carry content, in order, with repetitions."""
    return [stem(word) for word in words if word not in STOP and (len(word) > 2 or word.isdigit())]


def grams(sentence: str) -> set[str]:
    """Words and neighbouring pairs of a lower-case sentence, its end mark among them."""
    mark = sentence[-1] if sentence[-1] in "?!" else "."
    chain = [*words_of(sentence), mark]
    return {*chain, *(f"{a} {b}" for a, b in itertools.pairwise(chain))}


def runs(words: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """Every stretch of so many words, in order."""
    return [tuple(words[at : at + length]) for at in range(len(words) - length + 1)]
