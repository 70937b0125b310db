"""A message as plain words, so that "I'm going to" and "im gonna" are one and the same.

In: any text. Out: lower-case words without apostrophes, sentence ends as a word of their own.
Nothing is refused.
"""

import re
import unicodedata
from collections.abc import Sequence

from runtime.guarding.spelling import MISSPELT

STOP = "."
TOKENS = re.compile(r"[^\W_]+|[.!?;\n]+|[\U0001F300-\U0001FAFF]|\u2026")
APOSTROPHES = re.compile(r"[’‘ʼ`´'ʹ]")
LONG_RUN = re.compile(r"([^\W\d_])\1{2,}")
# What is left of a contraction when its apostrophe goes would sometimes be another word.
WHOLE = re.compile(r"\b(i|you|he|she|it|we|they|that|there|who)'(ll|d)\b")
ENDINGS = {"ll": "will", "d": "would"}
SINGLE = MISSPELT | {
    "u": "you",
    "ur": "your",
    "r": "are",
    "cannot": "cant",
    "wan": "wanna",
    "goin": "going",
    "mom": "mum",
    "mommy": "mum",
    "mummy": "mum",
    "daddy": "dad",
    "nite": "night",
    "tonite": "tonight",
    "wana": "wanna",
    "dnt": "dont",
    "ded": "dead",
    "dieing": "dying",
    "meself": "myself",
    "suicidel": "suicidal",
    "suicidle": "suicidal",
    "no1": "nobody",
    "any1": "anyone",
    "sum1": "someone",
    "tmrw": "tomorrow",
    "pls": "please",
    "plz": "please",
    "id": "i would",
    "rn": "right now",
    "tbh": "honestly",
    "bc": "because",
    "cuz": "because",
    "su1cide": "suicide",
    "sewerslide": "suicide",
    "sui": "suicide",
}
PAIRS = {
    ("i", "am"): "im",
    ("i", "have"): "ive",
    ("going", "to"): "gonna",
    ("going", "2"): "gonna",
    ("want", "to"): "wanna",
    ("want", "2"): "wanna",
    ("do", "not"): "dont",
    ("did", "not"): "didnt",
    ("does", "not"): "doesnt",
    ("can", "not"): "cant",
    ("could", "not"): "couldnt",
    ("will", "not"): "wont",
    ("would", "not"): "wouldnt",
    ("should", "not"): "shouldnt",
    ("is", "not"): "isnt",
    ("are", "not"): "arent",
    ("was", "not"): "wasnt",
    ("have", "not"): "havent",
    ("has", "not"): "hasnt",
    ("he", "is"): "hes",
    ("she", "is"): "shes",
    ("it", "is"): "its",
    ("they", "are"): "theyre",
    ("you", "are"): "youre",
    ("there", "is"): "theres",
    ("any", "more"): "anymore",
    ("my", "self"): "myself",
    ("some", "one"): "someone",
    ("no", "one"): "nobody",
}
SINGLE["noone"] = "nobody"


def words_of(text: str) -> list[str]:
    """The words of a message; whatever ends a sentence is a stop."""
    plain = APOSTROPHES.sub("'", unicodedata.normalize("NFKC", text)).lower()
    plain = WHOLE.sub(lambda found: f"{found[1]} {ENDINGS[found[2]]}", plain).replace("'", "")
    found = TOKENS.findall(LONG_RUN.sub(r"\1\1", plain))
    return contracted(
        [token if token[0].isalnum() or token > "\u2fff" else STOP for token in found]
    )


def contracted(words: Sequence[str]) -> list[str]:
    """The same words in the one form that is used for each contraction."""
    single = [part for word in words for part in SINGLE.get(word, word).split()]
    made: list[str] = []
    for word in single:
        joined = PAIRS.get((made[-1], word)) if made else None
        if joined is None:
            made.append(word)
        else:
            made[-1] = joined
    return made
