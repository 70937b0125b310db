"""Items on a temporary file, so that a corpus of any size takes the same memory.

In: items, in order. Out: the same items, again and again, or the lines that a data folder holds
of them. The file is SQLite's own temporary one: it is gone when the shelf is, or the process.
"""

import sqlite3
from collections.abc import Callable, Iterator

from distill.core.jsonl import line_of
from distill.core.records import Dialogue, Privileged, Response, Split
from distill.corpora.item import Item
from distill.corpora.near_duplicates import said_by_user

COLUMNS = "dialogue, privileged, responses"
Row = tuple[str, str | None, str]


class Shelf:
    """A list on the disk: append, iterate, replace by place."""

    def __init__(self) -> None:
        self.rows = sqlite3.connect("", isolation_level=None)
        self.rows.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -8000;"
            "CREATE TABLE items (place INTEGER PRIMARY KEY, id TEXT, split TEXT, said TEXT,"
            " dialogue TEXT, privileged TEXT, responses TEXT);"
            "CREATE INDEX items_by_id ON items (id);"
            "BEGIN;"
        )
        self.count = 0

    def append(self, item: Item) -> None:
        self.put(self.count, item)
        self.count += 1

    def put(self, place: int, item: Item) -> None:
        dialogue = item.dialogue
        self.rows.execute(
            "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)",
            (place, dialogue.id, dialogue.split, said_by_user(dialogue.turns), *row_of(item)),
        )

    def find(self, name: str) -> tuple[int, Item] | None:
        """The first item of this dialogue, and its place."""
        query = f"SELECT place, {COLUMNS} FROM items WHERE id = ? ORDER BY place LIMIT 1"
        found = self.rows.execute(query, (name,)).fetchone()
        return (found[0], item_of(found[1:])) if found else None

    def said(self, split: Split) -> Iterator[tuple[int, str]]:
        """Place, and what the user says, of every item of a split."""
        yield from self.rows.execute(
            "SELECT place, said FROM items WHERE split = ? ORDER BY place", (split,)
        )

    def lines(self, keep: Callable[[int], bool]) -> Iterator[Row]:
        """The lines of dialogue, privileged fields and responses, where `keep` says so."""
        query = f"SELECT place, {COLUMNS} FROM items ORDER BY place"
        return (row for place, *row in self.rows.execute(query) if keep(place))

    def name_at(self, place: int) -> str:
        query = "SELECT id FROM items WHERE place = ?"
        name: str = self.rows.execute(query, (place,)).fetchone()[0]
        return name

    def __iter__(self) -> Iterator[Item]:
        return map(item_of, self.lines(lambda _: True))

    def __len__(self) -> int:
        return self.count


def row_of(item: Item) -> Row:
    privileged = line_of(item.privileged) if item.privileged else None
    return line_of(item.dialogue), privileged, "\n".join(map(line_of, item.responses))


def item_of(row: Row) -> Item:
    dialogue, privileged, responses = row
    return Item(
        Dialogue.model_validate_json(dialogue),
        Privileged.model_validate_json(privileged) if privileged else None,
        tuple(Response.model_validate_json(line) for line in responses.split("\n") if line),
    )
