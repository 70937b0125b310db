"""What the scorer knows of words: weight, feeling, company, order, tone.

In: arrays of a file, or what `learn` has learned. Out: `Tables`, with one method for each kind of
knowledge. Nothing is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.scoring.words import grams, words_of

Floats = NDArray[np.float32]

ENDINGS = (
    "ing",
    "ed",
    "ly",
    "tion",
    "er",
    "est",
    "ness",
    "ful",
    "able",
    "n't",
    "'s",
    "s",
    "y",
    "e",
)
START, END, NUMBER, OTHER = "<start>", "<end>", "<number>", "<other>"
SHAPES = (START, END, NUMBER, OTHER, *(f"-{ending}" for ending in ENDINGS))
NO_FLOW = -3.0


@dataclass(frozen=True)
class Tables:
    """Three vocabularies and what is known of each.

    `stems`: idf, valence in turns and in replies; `classes` of words: log-ratio of each
    neighbouring pair to chance; `grams`: weight for caring against indifferent sentences.
    """

    stems: tuple[str, ...]
    idf: Floats
    turn_valence: Floats
    reply_valence: Floats
    classes: tuple[str, ...]
    order: Floats
    grams: tuple[str, ...]
    gram_weights: Floats
    tone_offset: Floats

    @cached_property
    def stem_index(self) -> dict[str, int]:
        return positions(self.stems)

    @cached_property
    def class_index(self) -> dict[str, int]:
        return positions(self.classes)

    @cached_property
    def gram_weight(self) -> dict[str, float]:
        return dict(zip(self.grams, self.gram_weights.tolist(), strict=True))

    @cached_property
    def rare(self) -> float:
        """The weight of a stem never seen: a name, a number, a rare thing."""
        return float(self.idf.max())

    def known(self, stems: Iterable[str]) -> list[int]:
        return sorted({self.stem_index[stem] for stem in stems if stem in self.stem_index})

    def weight(self, stem: str) -> float:
        number = self.stem_index.get(stem)
        return self.rare if number is None else float(self.idf[number])

    def valence(self, stems: Iterable[str], *, of_reply: bool) -> float:
        """From -1 (painful) to 1 (pleasant)."""
        table = self.reply_valence if of_reply else self.turn_valence
        return float(np.tanh(table[self.known(stems)].sum() / 2))

    def word_class(self, word: str) -> int:
        found = self.class_index.get(word)
        return self.class_index[shape(word)] if found is None else found

    def flow(self, sentence: str) -> float:
        """How usual the order of words is: mean log-ratio of neighbours against chance."""
        inner = [self.word_class(word) for word in words_of(sentence)]
        if not inner:
            return NO_FLOW
        chain = [self.class_index[START], *inner, self.class_index[END]]
        return float(self.order[chain[:-1], chain[1:]].mean())

    def tone(self, sentence: str) -> float:
        """From -1 (indifferent) to 1 (caring), for one lower-case sentence."""
        weight = self.gram_weight
        total = sum(weight[gram] for gram in sorted(grams(sentence)) if gram in weight)
        return float(np.tanh((float(self.tone_offset[0]) + total) / 2))


def positions(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


def shape(word: str) -> str:
    """The class of a word that is not common: by its ending."""
    if word[0].isdigit():
        return NUMBER
    for ending in ENDINGS:
        if len(word) > len(ending) + 1 and word.endswith(ending):
            return f"-{ending}"
    return OTHER


NAMES = ("stems", "classes", "grams")
STEPS = {"order": 31}


def to_arrays(tables: Tables) -> dict[str, Any]:
    """Small arrays for a file: names joined by line feeds, halves, and bytes by fixed steps."""
    arrays: dict[str, Any] = {}
    for name in (field.name for field in fields(tables)):
        value = getattr(tables, name)
        if name in NAMES:
            arrays[name] = np.frombuffer("\n".join(value).encode(), np.uint8)
        elif name in STEPS:
            arrays[name] = np.rint(value * STEPS[name]).astype(np.int8)
        else:
            arrays[name] = value.astype(np.float16)
    return arrays


def from_arrays(arrays: Mapping[str, Any]) -> Tables:
    values: dict[str, Any] = {}
    for name in (field.name for field in fields(Tables)):
        value = arrays[name]
        if name in NAMES:
            values[name] = tuple(value.tobytes().decode().split("\n"))
        else:
            values[name] = value.astype(np.float32) / STEPS.get(name, 1)
    return Tables(**values)
