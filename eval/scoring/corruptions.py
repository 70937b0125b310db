"""Degenerate replies, made from good ones: what a scorer must never be fooled by.

In: a dialogue with its graded replies, others to borrow from, a random source. Out: texts by
name. Nothing is refused.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eval.scoring.words import STOP, sentences_of, words_of


@dataclass(frozen=True)
class Graded:
    """A dialogue as messages, with its emotion (`sign`: 1 pleasant, -1 painful) and its replies."""

    id: str
    source: str
    split: str
    turns: tuple[Mapping[str, str], ...]
    emotion: str
    sign: int
    situation: str
    feeling: str
    replies: Mapping[str, str]

    @property
    def said(self) -> str:
        return self.turns[-1]["content"]

    @property
    def all_said(self) -> str:
        return " ".join(turn["content"] for turn in self.turns if turn["role"] == "user")


Corrupt = Callable[[Graded, Sequence[Graded], random.Random], str]


def loop(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """One sentence of a good reply, again and again."""
    return " ".join([rng.choice(sentences_of(graded.replies["improved"]))] * rng.randint(3, 5))


def loop_of_words(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    words = words_of(graded.replies["improved"])
    start = rng.randrange(max(1, len(words) - 4))
    return " ".join(words[start : start + rng.randint(2, 4)] * rng.randint(5, 9)) + "."


def salad(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """The words of a good reply in any order."""
    words = words_of(graded.replies["improved"])
    rng.shuffle(words)
    return " ".join(words).capitalize() + "."


def stuffed(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """The person's own words as a list, then a phrase that fits anyone."""
    words = [word for word in words_of(graded.said) if word not in STOP]
    return " ".join(words[:12]).capitalize() + ". " + rng.choice(ANY_GENERIC)


def copied(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    return graded.said


def copied_with_a_phrase(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    return f"{rng.choice(ANY_GENERIC)} {graded.said}"


def cut(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """The first words only."""
    return " ".join(graded.replies["improved"].split()[: rng.randint(2, 4)])


def stranger(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """A good reply to somebody else."""
    return rng.choice(others).replies[rng.choice(("direct", "improved"))]


def opposite(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """A good reply to somebody who felt the other way."""
    against = [other for other in others if other.sign == -graded.sign]
    return rng.choice(against or others).replies[rng.choice(("direct", "improved"))]


def stitched(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """Good sentences of several strangers."""
    picked = rng.sample(list(others), 4)
    return " ".join(rng.choice(sentences_of(other.replies["improved"])) for other in picked)


def generic(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """What would be said to anyone."""
    return rng.choice(ANY_GENERIC)


def rambling(graded: Graded, others: Sequence[Graded], rng: random.Random) -> str:
    """An indifferent reply, made long with more indifference."""
    picked = rng.sample(list(others), 4)
    return " ".join([graded.replies["plain"], *(other.replies["plain"] for other in picked)])


# What could be said to anyone who feels well (1) or unwell (-1), or to anyone at all (0).
GENERIC: Mapping[int, tuple[str, ...]] = {
    1: (
        "Wow, that is amazing! You must be so happy. Congratulations!",
        "That is so wonderful to hear! I am really happy for you. Tell me more!",
        "How exciting, I am so glad for you! You should be proud.",
    ),
    -1: (
        "I am so sorry you are going through this. That must be so hard. I am here for you.",
        "Oh no, that sounds awful. I am sorry that happened to you.",
        "That sounds really difficult, and I want you to know that you are not alone in this.",
    ),
    0: (
        "I understand how you feel. Your feelings are valid. Would you like to talk about it?",
        "Thank you for sharing that with me. It sounds like a lot. How are you feeling now?",
    ),
}
ANY_GENERIC = tuple(text for texts in GENERIC.values() for text in texts)

# Sensible replies of these grades must score above the corruption.
CORRUPTIONS: Mapping[str, tuple[Corrupt, tuple[str, ...]]] = {
    "loop": (loop, ("plain", "direct", "improved")),
    "loop of words": (loop_of_words, ("plain", "direct", "improved")),
    "salad": (salad, ("plain", "direct", "improved")),
    "stuffed": (stuffed, ("direct", "improved")),
    "copied": (copied, ("direct", "improved")),
    "copied with a phrase": (copied_with_a_phrase, ("direct", "improved")),
    "cut": (cut, ("direct", "improved")),
    "stranger": (stranger, ("direct", "improved")),
    "opposite": (opposite, ("direct", "improved")),
    "stitched": (stitched, ("direct", "improved")),
    "generic": (generic, ("improved",)),
    "rambling": (rambling, ("direct", "improved")),
}
