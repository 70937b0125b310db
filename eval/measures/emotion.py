"""Emotion accuracy: is the person's emotion still to be told when the reply stands beside the turn.

arXiv 2606.23124 reports an emotion accuracy; only its abstract was at hand, so this is our
definition. A logistic regression on sentence embeddings learns the emotion from training dialogues
with their reference replies, and is asked about test dialogues with the candidate's. Beside it
stand its own accuracy with the reference replies, without any reply, and with the reply alone.
Refused: a folder without emotions or training dialogues with references (BadInput).
"""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.encoder import open_encoder
from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Privileged
from eval.measures.references import read_references
from eval.measures.seam import Figure, Material, mean

NEEDS = ("references",)
EMOTION = "emotion"
MOST_LEARNED, FEWEST_LEARNED = 2000, 50
REGULARIZATION = 10.0  # of unit vectors
Floats = NDArray[np.float32]


def said(dialogue: Dialogue) -> str:
    return " ".join(turn.content for turn in dialogue.turns if turn.role == "user")


def learned_from(material: Material, emotions: dict[str, str]) -> list[tuple[Dialogue, str]]:
    """Training dialogues with an emotion and a reference reply; BadInput when there are few."""
    assert material.data and material.reference
    asked = {dialogue.id for dialogue in material.dialogues}
    replies = read_references(material.data, material.reference)
    found = [
        (dialogue, replies[dialogue.id][0].text)
        for dialogue in read_jsonl(material.data / "dialogues.jsonl", Dialogue)
        if dialogue.split == "train"
        and dialogue.id not in asked
        and dialogue.id in emotions
        and dialogue.id in replies
    ]
    if len(found) < FEWEST_LEARNED:
        raise BadInput(
            f"{material.data} has {len(found)} training dialogues with an emotion and a reply by "
            f"{material.reference}, fewer than {FEWEST_LEARNED}; gather more, or leave --data out"
        )
    return random.Random(material.seed).sample(found, min(len(found), MOST_LEARNED))


def encoded(*columns: list[str]) -> list[Floats]:
    """The vectors of each column of texts, all of them read under one bar."""
    rows = open_encoder().vectors([text for column in columns for text in column], "emotion")
    ends = np.cumsum([len(column) for column in columns])
    return np.split(rows, ends[:-1])


def accuracy_of(model: Any, rows: Floats, labels: Sequence[str]) -> list[bool]:
    return [bool(told == given) for told, given in zip(model.predict(rows), labels, strict=True)]


def figures(material: Material) -> list[Figure]:
    from sklearn.linear_model import LogisticRegression

    assert material.data
    notes = read_jsonl(material.data / "privileged.jsonl", Privileged)
    emotions = {n.dialogue_id: n.fields[EMOTION] for n in notes if EMOTION in n.fields}
    learned = learned_from(material, emotions)
    asked = [one for one in material.references if one[0].id in emotions]
    if not asked:
        raise BadInput(
            f"{material.data} states no emotion of the dialogues that were answered; gather them "
            "with the emotions, or leave --data out"
        )
    heard, replied, turns, own, reference = encoded(
        [said(dialogue) for dialogue, _ in learned],
        [text for _, text in learned],
        [said(dialogue) for dialogue, *_ in asked],
        [text for _, text, _ in asked],
        [references[0] for *_, references in asked],
    )
    given = [emotions[dialogue.id] for dialogue, _ in learned]
    labels = [emotions[dialogue.id] for dialogue, *_ in asked]

    def learn(rows: Floats) -> Any:
        return LogisticRegression(C=REGULARIZATION, max_iter=1000).fit(rows, given)

    both, turn_alone, reply_alone = map(learn, (np.hstack([heard, replied]), heard, replied))
    kinds = f"of {len(set(given))} emotions, learned from {len(learned)} dialogues"
    found = {
        "emotion_accuracy": (
            accuracy_of(both, np.hstack([turns, own]), labels),
            f"the person's emotion is told from turn and reply, {kinds}",
            "a measure of the reply alone: most of it comes from the turn (see the lines below)",
        ),
        "emotion_accuracy_of_references": (
            accuracy_of(both, np.hstack([turns, reference]), labels),
            "the same classifier with the reference replies: its own held-out accuracy",
            "a figure of the candidate",
        ),
        "emotion_accuracy_without_reply": (
            accuracy_of(turn_alone, turns, labels),
            "a classifier of the turn alone",
            "a figure of the candidate",
        ),
        "emotion_accuracy_of_reply_alone": (
            accuracy_of(reply_alone, own, labels),
            "a classifier of reference replies, asked about the candidate's without the turn",
            "high for a good reply: one may care without repeating the feeling",
        ),
    }
    return [
        mean(name, right, material.seed, unit="share right", means=means, is_not=is_not)
        for name, (right, means, is_not) in found.items()
    ]
