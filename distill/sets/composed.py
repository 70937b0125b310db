"""Gathered data in memory, and what a rule makes of each of its splits.

In: a folder that `distill gather` wrote. Out: `Data`, `Composed`. Refused: a dialogue that
occurs twice, a response to a dialogue that is not there (BadInput).
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Preference, Response, Split
from distill.sets.rules import Responders, Rule

TRAINING: tuple[Split, ...] = ("train", "valid")


@dataclass(frozen=True)
class Data:
    """Dialogues and, by dialogue, the responses to each."""

    dialogues: list[Dialogue]
    responses: dict[str, list[Response]]

    @classmethod
    def read(cls, folder: Path) -> "Data":
        dialogues = read_jsonl(folder / "dialogues.jsonl", Dialogue)
        twice = [name for name, n in Counter(d.id for d in dialogues).items() if n > 1]
        if twice:
            raise BadInput(
                f"{folder}/dialogues.jsonl holds {twice[0]} twice; gather the data again"
            )
        responses: dict[str, list[Response]] = {dialogue.id: [] for dialogue in dialogues}
        for response in read_jsonl(folder / "responses.jsonl", Response):
            if response.dialogue_id not in responses:
                raise BadInput(
                    f"{folder}/responses.jsonl: {response.id} answers {response.dialogue_id}, "
                    f"which is not in dialogues.jsonl; gather the data again"
                )
            responses[response.dialogue_id].append(response)
        return cls(dialogues, responses)

    def of(self, split: Split) -> list[Dialogue]:
        return [dialogue for dialogue in self.dialogues if dialogue.split == split]

    def authors(self) -> list[str]:
        return sorted({r.author for responses in self.responses.values() for r in responses})

    def strategies(self) -> list[str]:
        """The strategies by which responses improve others."""
        every = (r for responses in self.responses.values() for r in responses if r.improves)
        return sorted({response.strategy for response in every if response.strategy})

    def improved_by(self, strategy: str) -> "Data":
        """Without what other strategies improved."""
        responses = {
            name: [r for r in found if r.improves is None or r.strategy == strategy]
            for name, found in self.responses.items()
        }
        return Data(self.dialogues, responses)


@dataclass(frozen=True)
class Composed:
    """What one split teaches: dialogues with a response to imitate, and preferences."""

    targets: list[tuple[Dialogue, Response]]
    preferences: list[Preference]


def compose(data: Data, rule: Rule, split: Split, seed: int, responders: Responders) -> Composed:
    """Apply a rule to every dialogue of a split, in an order that depends on the seed alone."""
    targets, preferences = [], []
    for dialogue in data.of(split):
        taught = rule.take(data.responses[dialogue.id], responders)
        targets += [(dialogue, response) for response in taught.targets]
        preferences += [preference(dialogue, *pair) for pair in taught.pairs]
    order = random.Random(f"{seed}/{split}")
    order.shuffle(targets)
    order.shuffle(preferences)
    return Composed(targets, preferences)


def preference(dialogue: Dialogue, chosen: Response, rejected: Response) -> Preference:
    because = f"{named(chosen)} over {named(rejected)}"
    return Preference(
        dialogue=dialogue, chosen=chosen.text, rejected=rejected.text, because=because
    )


def named(response: Response) -> str:
    """Who wrote it and how it was rated, as the card and the preferences say it."""
    known = [response.author]
    if response.strategy and response.strategy not in response.author:
        known.append(response.strategy)
    return " ".join([*known, *([f"rated {response.rating}"] if response.rating else [])])
