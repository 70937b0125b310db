"""Replies that people rated, as rows to learn from.

In: a folder that `distill gather rated-responses=PATH` wrote. Out: one `Row` for each rated reply.
Refused: a folder without rated replies, or with fewer than `FEWEST` of a rating (BadInput).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Privileged, Response, Turn

RATINGS = (1, 2, 3)
FEWEST = 10


@dataclass(frozen=True)
class Row:
    """One reply to a dialogue; `miti` are its behaviour codes, None where nobody coded it."""

    id: str
    dialogue_id: str
    turns: tuple[Turn, ...]
    text: str
    author: str
    rating: int
    miti: frozenset[str] | None = None

    @property
    def said(self) -> str:
        return self.turns[-1].content

    def messages(self) -> list[dict[str, str]]:
        return [turn.message() for turn in self.turns]


def read_rated(folder: Path) -> list[Row]:
    dialogues = {one.id: one for one in read_jsonl(folder / "dialogues.jsonl", Dialogue)}
    notes = {p.dialogue_id: p.fields for p in read_jsonl(folder / "privileged.jsonl", Privileged)}
    rows = [
        row_of(response, dialogues[response.dialogue_id], notes.get(response.dialogue_id, {}))
        for response in read_jsonl(folder / "responses.jsonl", Response)
        if response.rating is not None and response.dialogue_id in dialogues
    ]
    counts = Counter(row.rating for row in rows)
    if fewest := [rating for rating in RATINGS if counts[rating] < FEWEST]:
        raise BadInput(
            f"{folder} has {counts[fewest[0]]} replies rated {fewest[0]}, fewer than {FEWEST}; "
            "gather rated ones with: distill gather rated-responses=PATH --out DIR"
        )
    return rows


def row_of(response: Response, dialogue: Dialogue, notes: dict[str, str]) -> Row:
    coded = notes.get(f"miti_{response.author}")
    codes = None if coded is None else frozenset(coded.split(", ")) - {""}
    return Row(
        id=response.id,
        dialogue_id=dialogue.id,
        turns=tuple(dialogue.turns),
        text=response.text,
        author=response.author,
        rating=response.rating or 0,
        miti=codes,
    )


def ratings_of(rows: Sequence[Row]) -> NDArray[np.int64]:
    return np.array([row.rating for row in rows])
