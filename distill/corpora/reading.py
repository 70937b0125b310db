"""What every corpus module offers: `read(request, problems) -> Reading`.

In: a `Request`. Out: items, the digests of the raw files, and what was left out and why. Broken
rows go to `problems` and are refused by the caller, all at once.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import Problems, numbered_lines, plain_reason, sha256_of
from distill.core.records import Turn
from distill.corpora.item import Item
from distill.corpora.shelf import Shelf

Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True)
class Request:
    """Which part of a corpus is wanted; `path` for those that are read from files."""

    path: Path | None = None
    seed: int = 0
    parts: str | None = None
    count: int = 9000


@dataclass
class Reading:
    """Items in the order of the source, digests by file name, counts of what was left out.

    A corpus of any size keeps its items on a shelf; those that fit in memory are a list.
    """

    items: list[Item] | Shelf = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)


def required_path(request: Request, name: str, address: str) -> Path:
    """The path that the user gave; without one, say where the original lives."""
    if request.path is None:
        raise BadInput(f"{name} is read from files; name them: {name}=PATH ({address})")
    if not request.path.exists():
        raise MissingInput(f"{request.path} does not exist ({address})")
    return request.path


def files_of(path: Path, names: Mapping[str, str], corpus: str) -> dict[str, Path]:
    """The files to read, by what their names mean; any other single file means its own name.

    In a folder only the known names are read. MissingInput when there is none, BadInput when
    two of them mean the same.
    """
    if path.is_file():
        return {names.get(path.name, path.name): path}
    found: dict[str, Path] = {}
    for name, meaning in names.items():
        if (file := path / name).is_file():
            if meaning in found:
                raise BadInput(
                    f"{path} holds both {found[meaning].name} and {name}; name one of the two files"
                )
            found[meaning] = file
    if not found:
        raise MissingInput(f"{path} holds no file of {corpus} (known: {', '.join(names)})")
    return found


def digests_of(paths: Iterable[Path]) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in paths}


def read_rows(path: Path, kind: type[Row], problems: Problems) -> Iterator[tuple[int, Row]]:
    """Line numbers and rows of a foreign JSON-lines file; broken lines go to `problems`."""
    for number, value in numbered_lines(path):
        try:
            if isinstance(value, ValueError):
                raise value
            yield number, kind.model_validate(value)
        except ValueError as error:
            problems.add(f"{path}:{number}: {plain_reason(error)}")


def conversation(turns: Iterable[Turn]) -> list[Turn]:
    """Turns that alternate: neighbours of one role are joined, a system turn may come first.

    What the assistant says before the user's first turn is dropped, because the chat templates
    of several students refuse a conversation that the user does not open.
    """
    joined: list[Turn] = []
    for turn in turns:
        if joined and joined[-1].role == turn.role:
            turn = Turn(role=turn.role, content=f"{joined.pop().content} {turn.content}")
        elif turn.role == "assistant" and not any(t.role == "user" for t in joined):
            continue
        joined.append(turn)
    return joined


def last_replied(turns: list[Turn]) -> int | None:
    """The place of the last reply that follows a turn of the user, or None."""
    places = range(len(turns) - 1, 0, -1)
    pairs = ((turns[place - 1].role, turns[place].role, place) for place in places)
    return next((place for before, role, place in pairs if (before, role) == EXCHANGE), None)


EXCHANGE = ("user", "assistant")


def as_text(turns: Iterable[Turn], user: str, assistant: str) -> str:
    """Later turns as one privileged field."""
    names = {"user": user, "assistant": assistant}
    return " ".join(f"{names[turn.role].capitalize()}: {turn.content}" for turn in turns)
