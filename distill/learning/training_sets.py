"""The sets that `distill compose` wrote, checked line by line before any weight loads.

In: a folder with `sft.jsonl` and `preferences.jsonl` and their `_valid` companions. Out: lists of
message lists. Refused: broken lines, all of them named (BadInput), a file that is not there
(MissingInput), a set without a single dialogue (BadInput).
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import Field, model_validator

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl, sha256_of
from distill.core.records import Record, Turn
from distill.recipe import Step, TwoStep

SFT, PREFERENCES = "sft", "preferences"
Messages = list[dict[str, str]]
Row = TypeVar("Row", bound=Record)
Each = TypeVar("Each")


class Taught(Record):
    """A dialogue that ends with the reply to learn."""

    messages: list[Turn] = Field(min_length=2)

    @model_validator(mode="after")
    def ends_with_a_reply(self) -> "Taught":
        if self.messages[-1].role != "assistant":
            raise ValueError("the last message is not the assistant's")
        return self

    def dialogue(self) -> Messages:
        return [turn.message() for turn in self.messages]


class Preferred(Record):
    """A dialogue with a reply to prefer and one to leave."""

    prompt: list[Turn] = Field(min_length=1)
    chosen: list[Turn] = Field(min_length=1, max_length=1)
    rejected: list[Turn] = Field(min_length=1, max_length=1)

    @model_validator(mode="after")
    def replies_to_a_person(self) -> "Preferred":
        if self.prompt[-1].role != "user":
            raise ValueError("the prompt does not end with the user's message")
        if {self.chosen[0].role, self.rejected[0].role} != {"assistant"}:
            raise ValueError("chosen and rejected must be the assistant's")
        return self


@dataclass(frozen=True)
class Pair:
    """One preference as message lists."""

    prompt: Messages
    chosen: Messages
    rejected: Messages


@dataclass(frozen=True)
class TrainingSets:
    """What a two-step recipe reads; `digests` are of the files as they lie on disk."""

    dialogues: list[Messages]
    dialogues_valid: list[Messages]
    pairs: list[Pair]
    pairs_valid: list[Pair]
    digests: dict[str, str]


def read_training_sets(folder: Path, recipe: TwoStep) -> TrainingSets:
    """Read and check what the recipe's stages need; validation sets may be absent or empty."""
    taught, taught_valid = read_two(folder, SFT, Taught)
    preferred, preferred_valid = (
        read_two(folder, PREFERENCES, Preferred) if recipe.dpo else ([], [])
    )
    stages = [SFT, *([PREFERENCES] if recipe.dpo else [])]
    names = [f"{stage}{end}.jsonl" for stage in stages for end in ("", "_valid")]
    return TrainingSets(
        dialogues=[t.dialogue() for t in chosen(taught, recipe.sft, recipe.seed)],
        dialogues_valid=[t.dialogue() for t in taught_valid],
        pairs=[pair_of(p) for p in chosen(preferred, recipe.dpo, recipe.seed)],
        pairs_valid=[pair_of(p) for p in preferred_valid],
        digests={n: sha256_of(folder / n) for n in names if (folder / n).exists()},
    )


def read_two(folder: Path, name: str, kind: type[Row]) -> tuple[list[Row], list[Row]]:
    """The training rows and the validation rows of one stage."""
    path, valid = folder / f"{name}.jsonl", folder / f"{name}_valid.jsonl"
    rows = read_jsonl(path, kind)
    if not rows:
        raise BadInput(
            f"{path} is empty; compose the sets again, with more data or another rule: "
            f"distill compose DATA --rule RULE --out {folder}"
        )
    return rows, read_jsonl(valid, kind) if valid.exists() else []


def chosen(rows: Sequence[Each], step: Step | None, seed: int) -> Sequence[Each]:
    """All rows, or a seeded choice of `step.at_most`, in their own order."""
    if step is None or step.at_most is None or len(rows) <= step.at_most:
        return rows
    kept = random.Random(f"{seed}/at-most").sample(range(len(rows)), step.at_most)
    return [rows[index] for index in sorted(kept)]


def pair_of(row: Preferred) -> Pair:
    return Pair(
        [turn.message() for turn in row.prompt],
        [turn.message() for turn in row.chosen],
        [turn.message() for turn in row.rejected],
    )
