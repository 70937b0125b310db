"""Pairs to learn from: the better reply first, length telling nothing.

In: a folder written by `distill gather starter curriculum`. Out: `Graded` dialogues and `Pair`s.
Refused: a folder without the three grades or the emotions (BadInput).
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Privileged, Response
from eval.scoring.corruptions import CORRUPTIONS, GENERIC, Graded
from eval.scoring.words import listed, sentences_of, words_of

GRADES = ("plain", "direct", "improved")
STEPS = (("improved", "direct"), ("direct", "plain"), ("improved", "plain"))
BORROWED = 40
FEWEST = 200
CROPPED_SHARE = 0.3
MIXED = listed("sentimental nostalgic surprised anticipating")
PLEASANT = listed(
    "caring confident content excited faithful grateful hopeful impressed joyful prepared proud"
    " trusting"
)
NEUTRAL = "the same, shorter"


@dataclass(frozen=True)
class Pair:
    """Two replies to one dialogue; `kind` says what sets them apart.

    `NEUTRAL` pairs, a reply and half of it, have no better one: they teach that length is none.
    """

    kind: str
    dialogue: Graded
    better: str
    worse: str


def read_graded(folder: Path) -> list[Graded]:
    """Every dialogue of a gathered folder that has all three grades and an emotion."""
    notes = {p.dialogue_id: p.fields for p in read_jsonl(folder / "privileged.jsonl", Privileged)}
    replies: dict[str, dict[str, str]] = {}
    for response in read_jsonl(folder / "responses.jsonl", Response):
        replies.setdefault(response.dialogue_id, {})[response.strategy or ""] = response.text
    found = [
        graded(dialogue, notes[dialogue.id], replies[dialogue.id])
        for dialogue in read_jsonl(folder / "dialogues.jsonl", Dialogue)
        if set(GRADES) <= set(replies.get(dialogue.id, ()))
        and "emotion" in notes.get(dialogue.id, ())
    ]
    count = sum(dialogue.split == "train" for dialogue in found)
    if count < FEWEST:
        raise BadInput(
            f"{folder} has {count} training dialogues with an emotion and plain, direct and "
            f"improved replies, fewer than {FEWEST}; gather them with: "
            "distill gather starter curriculum --out DIR"
        )
    return found


def graded(dialogue: Dialogue, notes: Mapping[str, str], replies: Mapping[str, str]) -> Graded:
    emotion = notes["emotion"]
    return Graded(
        id=dialogue.id,
        source=dialogue.source,
        split=dialogue.split,
        turns=tuple(dialogue.messages()),
        emotion=emotion,
        sign=0 if emotion in MIXED else 1 if emotion in PLEASANT else -1,
        situation=notes.get("situation", ""),
        feeling=" ".join(notes.get(name, "") for name in ("feeling", "cause")),
        replies={grade: replies[grade] for grade in GRADES},
    )


def pairs_of(
    dialogues: Sequence[Graded], others: Sequence[Graded], rng: random.Random
) -> Iterator[Pair]:
    """Graded pairs as they are ("whole") and of like length, and one of each corruption."""
    alike: dict[str, list[Graded]] = {}
    for other in others:
        alike.setdefault(other.emotion, []).append(other)
    for dialogue in dialogues:
        same = [other for other in alike.get(dialogue.emotion, ()) if other.id != dialogue.id]
        for better, worse in STEPS:
            texts = dialogue.replies[better], dialogue.replies[worse]
            yield Pair(f"whole: {better} over {worse}", dialogue, *texts)
            texts = of_like_length(*texts, worse, same or others, rng)
            yield Pair(f"like length: {better} over {worse}", dialogue, *texts)
        for grade in GRADES[1:]:
            text = dialogue.replies[grade]
            half = crop(text, len(words_of(text)) // 2, rng)
            yield Pair(NEUTRAL, dialogue, text, half)
        borrowed = [other for other in rng.choices(others, k=BORROWED) if other.id != dialogue.id]
        for name, (corrupt, grades) in CORRUPTIONS.items():
            sensible = dialogue.replies[rng.choice(grades)]
            yield Pair(name, dialogue, sensible, corrupt(dialogue, borrowed, rng))
        if dialogue.sign:
            fitting, unfitting = (rng.choice(GENERIC[s]) for s in (dialogue.sign, -dialogue.sign))
            yield Pair("wrong mood", dialogue, fitting, unfitting)


def of_like_length(
    better: str, worse: str, grade: str, same: Sequence[Graded], rng: random.Random
) -> tuple[str, str]:
    """Crop the better reply, or lengthen a plain one by plain ones for the same emotion."""
    if grade != "plain" or rng.random() < CROPPED_SHARE:
        return crop(better, len(words_of(worse)), rng), worse
    goal = len(words_of(better)) - 4
    while len(words_of(worse)) < goal:
        worse += " " + rng.choice(same).replies[grade]
    return better, worse


def crop(text: str, most_words: int, rng: random.Random) -> str:
    """Neighbouring sentences of a text, from a random one on, about so many words."""
    sentences = sentences_of(text)
    sizes = [len(words_of(sentence)) for sentence in sentences]
    start = rng.randrange(len(sentences))
    end = start + 1
    while end < len(sentences) and sum(sizes[start : end + 1]) <= most_words + 2:
        end += 1
    while start > 0 and sum(sizes[start - 1 : end]) <= most_words + 2:
        start -= 1
    return " ".join(sentences[start:end])
