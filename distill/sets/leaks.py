"""The leak check: no training set shares a dialogue with the test set.

In: dialogues by split (compose), or a folder of composed sets (train). Out: nothing. Refused: a
shared dialogue (CheckFailed names it). Dialogues are the same when their turns are, whatever
the case, the spacing and the system turn.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill.core.errors import CheckFailed
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Turn

Key = tuple[tuple[str, str], ...]
ADVICE = "a student must not train on what it is tested on; gather and compose the data again"


class SftRow(BaseModel):
    """A row of `sft.jsonl`: the last message is what is taught."""

    model_config = ConfigDict(extra="forbid")
    messages: list[Turn] = Field(min_length=2)

    def asked(self) -> list[Turn]:
        return self.messages[:-1]


class PreferenceRow(BaseModel):
    """A row of `preferences.jsonl`."""

    model_config = ConfigDict(extra="forbid")
    prompt: list[Turn] = Field(min_length=1)
    chosen: list[Turn] = Field(min_length=1)
    rejected: list[Turn] = Field(min_length=1)

    def asked(self) -> list[Turn]:
        return self.prompt


ROWS: Mapping[str, type[SftRow] | type[PreferenceRow]] = {
    "sft.jsonl": SftRow,
    "sft_valid.jsonl": SftRow,
    "preferences.jsonl": PreferenceRow,
    "preferences_valid.jsonl": PreferenceRow,
}


def key_of(turns: Iterable[Turn]) -> Key:
    said = (turn for turn in turns if turn.role != "system")
    return tuple((turn.role, " ".join(turn.content.casefold().split())) for turn in said)


def refuse_leak(dialogues: Sequence[Dialogue]) -> None:
    """CheckFailed when a dialogue of train or valid is also one of the test split."""
    tested = {key_of(d.turns): d.id for d in dialogues if d.split == "test"}
    for dialogue in dialogues:
        if dialogue.split != "test" and (found := tested.get(key_of(dialogue.turns))):
            raise CheckFailed(
                f"dialogue {dialogue.id} of the {dialogue.split} split is dialogue {found} of the "
                f"test split; {ADVICE}"
            )


def refuse_shared_dialogues(sets: Path) -> None:
    """The same for a folder of composed sets; CheckFailed names file and line.

    BadInput names every row that is broken. Without a `test.jsonl` there is nothing to share.
    """
    if not (test := sets / "test.jsonl").exists():
        return
    tested = {key_of(d.turns): d.id for d in read_jsonl(test, Dialogue)}
    for place, turns in asked_in(sets):
        if found := tested.get(key_of(turns)):
            raise CheckFailed(f"{place} holds dialogue {found} of {test.name}; {ADVICE}")


def asked_in(sets: Path) -> Iterator[tuple[str, list[Turn]]]:
    for name, kind in ROWS.items():
        if (file := sets / name).exists():
            rows: Sequence[Any] = read_jsonl(file, kind)
            yield from (
                (f"{file}, row {number}", row.asked()) for number, row in enumerate(rows, 1)
            )
