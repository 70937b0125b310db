"""Compose SFT and preference sets by the paper's rules.

In: a folder that `distill gather` wrote, a rule. Out: a folder with training sets, the test
dialogues and `dataset_card.json`. Refused: a training set that shares a dialogue with the test
set (CheckFailed), a rule that finds nothing to imitate, a responder that is not there (BadInput).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.folder import replacing_folder
from distill.core.jsonl import read_jsonl, sha256_of, write_json, write_jsonl
from distill.core.records import Dialogue, Preference, Response, Split
from distill.sets.rules import RULES, Responders, Rule

FILES = (
    "sft.jsonl",
    "sft_valid.jsonl",
    "preferences.jsonl",
    "preferences_valid.jsonl",
    "test.jsonl",
    "dataset_card.json",
)
TRAINING: tuple[Split, ...] = ("train", "valid")


@dataclass(frozen=True)
class Composed:
    """What one split teaches: dialogues with their target, and preferences."""

    targets: list[tuple[Dialogue, Response]]
    preferences: list[Preference]


@dataclass(frozen=True)
class Data:
    """A gathered folder in memory."""

    dialogues: list[Dialogue]
    responses: dict[str, list[Response]]

    @classmethod
    def read(cls, folder: Path) -> "Data":
        dialogues = read_jsonl(folder / "dialogues.jsonl", Dialogue)
        responses: dict[str, list[Response]] = {dialogue.id: [] for dialogue in dialogues}
        for response in read_jsonl(folder / "responses.jsonl", Response):
            responses.setdefault(response.dialogue_id, []).append(response)
        return cls(dialogues, responses)

    def of(self, split: Split) -> list[Dialogue]:
        return [dialogue for dialogue in self.dialogues if dialogue.split == split]


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
    rating = f" rated {response.rating}" if response.rating else ""
    return " ".join(filter(None, [response.author, response.strategy])) + rating


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def sft_rows(composed: Composed) -> Iterator[dict[str, Any]]:
    for dialogue, response in composed.targets:
        yield {"messages": [*dialogue.messages(), assistant(response.text)]}


def preference_rows(preferences: Sequence[Preference]) -> Iterator[dict[str, Any]]:
    for one in preferences:
        yield {
            "prompt": one.dialogue.messages(),
            "chosen": [assistant(one.chosen)],
            "rejected": [assistant(one.rejected)],
        }


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder that `distill gather` wrote.")],
    rule: Annotated[str, typer.Option(help=f"One of: {', '.join(RULES)}.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    seed: Annotated[int, typer.Option(help="Seed of the order.")] = 0,
) -> Outcome:
    """Compose SFT and preference sets from gathered data."""
    if rule not in RULES:
        raise BadInput(f"there is no rule named {rule}; known are: {', '.join(RULES)}")
    gathered = Data.read(data)
    parts = {split: compose(gathered, RULES[rule], split, seed, None) for split in TRAINING}
    with replacing_folder(out, FILES) as folder:
        for split, part in parts.items():
            end = "" if split == "train" else f"_{split}"
            write_jsonl(folder / f"sft{end}.jsonl", sft_rows(part))
            write_jsonl(folder / f"preferences{end}.jsonl", preference_rows(part.preferences))
        write_jsonl(folder / "test.jsonl", gathered.of("test"))
        digests = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
        write_json(folder / "dataset_card.json", {"rule": rule, "seed": seed, "files": digests})
    counts = {split: len(part.targets) for split, part in parts.items()}
    return Outcome({"out": str(out), "rule": rule, "sft": counts}, [f"{counts} in {out}"])
