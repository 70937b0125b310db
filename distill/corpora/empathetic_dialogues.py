"""EmpatheticDialogues (Rashkin et al. 2019, arXiv 1811.00207, CC BY 4.0).

In: a folder with `train`, `valid`, `test` as `.jsonl` (one conversation a line) or as the
official `.csv`, or one such file. Out: one dialogue a conversation, named by its `conv_id`,
which ends with the last turn of the speaker that the listener replies to; that reply is a
response by "human". Privileged: emotion, situation, and as `next` the turns after the reply.
The official split is kept, as the file names tell it. Refused: rows that do not fit.

The official CSV writes a comma inside a field as `_comma_` and uses no quotes; a ninth field
holds candidates and is not read.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from distill.core.jsonl import Problems, plain_reason
from distill.core.records import SPLITS, Dialogue, Privileged, Response, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import (
    Reading,
    Request,
    as_text,
    conversation,
    digests_of,
    files_of,
    last_replied,
    read_rows,
    required_path,
)

NAME = "empathetic-dialogues"
ADDRESS = (
    "the original: https://dl.fbaipublicfiles.com/parlai/empatheticdialogues/"
    "empatheticdialogues.tar.gz"
)
NAMES = {f"{split}.{ending}": split for split in SPLITS for ending in ("jsonl", "csv")}
HEADER = ["conv_id", "utterance_idx", "context", "prompt", "speaker_idx", "utterance"]
ROLES: dict[str, Literal["user", "assistant"]] = {"speaker": "user", "listener": "assistant"}


class Utterance(BaseModel):
    role: Literal["speaker", "listener"]
    text: str = Field(pattern=r"\S")


class Conversation(BaseModel):
    """One conversation, whatever file it came from; other fields are not read."""

    conv_id: str = Field(min_length=1)
    emotion: str = Field(min_length=1)
    situation: str
    turns: list[Utterance] = Field(min_length=1)


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, ADDRESS)
    files = files_of(path, NAMES, NAME)
    reading = Reading(files=digests_of(files.values()))
    for meaning, file in files.items():
        split = next((split for split in SPLITS if split == meaning), None)
        if split is None:
            reading.remarks.append(f"{file.name} names no split; each conversation got one by id")
        rows = official(file, problems) if file.suffix == ".csv" else lines(file, problems)
        for row in rows:
            turns = conversation(Turn(role=ROLES[t.role], content=t.text) for t in row.turns)
            if (place := last_replied(turns)) is None:
                reading.left_out["the listener never replies"] += 1
                continue
            dialogue = Dialogue(
                id=row.conv_id,
                source=NAME,
                turns=turns[:place],
                split=split or split_by_id(row.conv_id),
            )
            reading.items.append(item_of(dialogue, row, turns[place], turns[place + 1 :]))
    return reading


def item_of(dialogue: Dialogue, row: Conversation, reply: Turn, later: list[Turn]) -> Item:
    fields = {"emotion": row.emotion, "situation": row.situation}
    if later:
        fields["next"] = as_text(later, "speaker", "listener")
    response = Response(
        id=f"{row.conv_id}/human", dialogue_id=row.conv_id, text=reply.content, author="human"
    )
    privileged = Privileged(dialogue_id=row.conv_id, fields=fields)
    return Item(dialogue, privileged, (response,))


def lines(file: Path, problems: Problems) -> Iterator[Conversation]:
    for _, row in read_rows(file, Conversation, problems):
        yield row


def official(file: Path, problems: Problems) -> Iterator[Conversation]:
    """Conversations of the official CSV; the one who speaks first is the speaker."""
    rows = split_rows(file, problems)
    for conv_id, group in itertools.groupby(rows, key=lambda row: row[1][0]):
        turns = list(group)
        number, first = turns[0]
        numbers = [row[1] for _, row in turns]
        try:
            if numbers != [str(place + 1) for place in range(len(turns))]:
                raise ValueError(f"utterance_idx runs {', '.join(numbers)}, not from 1 upwards")
            yield Conversation(
                conv_id=conv_id,
                emotion=first[2],
                situation=first[3],
                turns=[
                    Utterance(role="speaker" if row[4] == first[4] else "listener", text=row[5])
                    for _, row in turns
                ],
            )
        except (ValidationError, ValueError) as error:
            problems.add(f"{file}:{number}: conversation {conv_id}: {plain_reason(error)}")


def split_rows(file: Path, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as text:
        for number, line in enumerate(text, 1):
            row = [field.replace("_comma_", ",").strip() for field in line.split(",")]
            if number == 1 and row[: len(HEADER)] != HEADER:
                problems.add(f"{file}:1: the header is not that of the official file")
                return
            if number > 1 and len(row) not in (8, 9):
                problems.add(f"{file}:{number}: {len(row)} fields, expected 8")
            elif number > 1:
                yield number, row
