"""What a reply does for the person it answers, as named numbers.

In: message lists ending with the user's, a reply, `Tables`. Out: one vector in the order of
`NAMES`. Every feature is bounded and saturates, so that more of the same soon adds nothing.
Nothing is refused; an empty reply is the scorer's business.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from eval.scoring import lexicons
from eval.scoring.tables import Floats, Tables
from eval.scoring.words import STOP, content_stems, plain, runs, sentences_of, words_of

# The sign that each weight may take: what helps a person is known before any data is seen.
SIGNS: Mapping[str, int] = {
    "covered": 1,  # takes up the person's own words, rare ones most
    "persons": 1,  # speaks of her when they spoke of her
    "tone": 1,  # sentences like those of people who care
    "mood": 1,  # pleasant for pleasant, gentle for painful
    "excess": -1,  # rambles; from 80 words on
    "stammer": -1,  # repeats itself
    "echo": -1,  # copies the person word for word
    "disorder": -1,  # words in no usual order
    "jumble": -1,  # a long sentence in no order at all, or a bare list of words
}
NAMES = tuple(SIGNS)
COVERED_SCALE = 6.0
EXCESS_WORDS = 80
USUAL_FLOW, POOR_FLOW, LONG_SENTENCE = 0.5, 0.2, 5
SMALL_WORDS_SHARE = 0.15
ECHO_LENGTH, ECHO_ALLOWED = 4, 0.15
STAMMER_LENGTH, SAME_WORD_ALLOWED = 3, 0.25
EARLIER_TURN = 0.5


@dataclass(frozen=True)
class Heard:
    """What there is to know of the turns before any reply is read."""

    weights: Mapping[str, float]
    valence: float
    persons: frozenset[str]
    runs: frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class Sentence:
    """One sentence of a reply, in lower case, with how usual its order of words is."""

    text: str
    words: tuple[str, ...]
    flow: float

    @property
    def broken(self) -> float:
        """From 0 to 1: a list of words without small ones, or an order that nobody uses."""
        if len(self.words) < LONG_SENTENCE:
            return 0.0
        small = sum(word in STOP for word in self.words) / len(self.words)
        return 1.0 if small < SMALL_WORDS_SHARE else min(max(0.0, POOR_FLOW - self.flow), 1.0)


def hear(turns: Sequence[Mapping[str, str]], tables: Tables) -> Heard:
    """Listen to the person's turns; the last one counts most."""
    said = [turn["content"] for turn in turns if turn["role"] == "user"]
    weights: dict[str, float] = {}
    for place, text in enumerate(reversed(said)):
        for stem in content_stems(words_of(text)):
            share = 1.0 if place == 0 else EARLIER_TURN
            weights[stem] = max(weights.get(stem, 0.0), share * tables.weight(stem))
    return Heard(
        weights=weights,
        valence=tables.valence(weights, of_reply=False),
        persons=persons(plain(" ".join(said)).lower()),
        runs=frozenset(run for text in said for run in runs(words_of(text), ECHO_LENGTH)),
    )


def features(heard: Heard, reply: str, tables: Tables) -> Floats:
    text = plain(reply).lower()
    sentences = [
        Sentence(part, tuple(words_of(part)), tables.flow(part)) for part in sentences_of(text)
    ]
    stems = content_stems([word for sentence in sentences for word in sentence.words])
    tones = [tables.tone(sentence.text) for sentence in sentences]
    values = {
        **relevance(heard, sentences, text),
        "tone": sum(tones) / len(tones) if tones else -1.0,
        "mood": heard.valence * tables.valence(stems, of_reply=True),
        **form(heard, sentences),
    }
    return np.array([values[name] for name in NAMES], np.float32)


def relevance(heard: Heard, sentences: Sequence[Sentence], text: str) -> dict[str, float]:
    """Words taken up count only in sentences that read like sentences."""
    fluent = [s for s in sentences if s.flow > POOR_FLOW and not s.broken]
    taken = {stem for s in fluent for stem in content_stems(s.words)} & set(heard.weights)
    spoken = persons(text)
    known = len(spoken & heard.persons) / len(spoken) if spoken else 0.5
    return {
        "covered": saturate(sum(heard.weights[stem] for stem in sorted(taken)) / COVERED_SCALE),
        "persons": 2 * known - 1,
    }


def form(heard: Heard, sentences: Sequence[Sentence]) -> dict[str, float]:
    words = [word for sentence in sentences for word in sentence.words]
    total = max(len(words), 1)
    triples, echoes = runs(words, STAMMER_LENGTH), runs(words, ECHO_LENGTH)
    repeated = 1 - len(set(triples)) / len(triples) if triples else 0.0
    copied = sum(run in heard.runs for run in echoes) / len(echoes) if echoes else 0.0
    most = max(Counter(words).values()) / total if len(words) >= STAMMER_LENGTH else 0.0
    lacking = sum(len(s.words) * min(max(0.0, USUAL_FLOW - s.flow), 2.0) for s in sentences)
    return {
        "excess": min(max(0, len(words) - EXCESS_WORDS) / EXCESS_WORDS, 1.0),
        "stammer": min(1.0, 2 * repeated + max(0.0, most - SAME_WORD_ALLOWED)),
        "echo": max(0.0, copied - ECHO_ALLOWED) / (1 - ECHO_ALLOWED),
        "disorder": lacking / total,
        "jumble": max((s.broken for s in sentences), default=0.0),
    }


def persons(text: str) -> frozenset[str]:
    found = {"she": lexicons.SHE, "he": lexicons.HE}
    return frozenset(name for name, pattern in found.items() if pattern.search(text))


def saturate(amount: float) -> float:
    return 1 - math.exp(-amount)
