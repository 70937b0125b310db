"""What every corpus module offers: `read(request, problems) -> Reading`.

In: a `Request`. Out: items, the digests of the raw files, and what was left out and why. Broken
rows go to `problems` and are refused by the caller, all at once.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import Problems, sha256_of
from distill.core.records import Turn
from distill.corpora.item import Item

__all__ = ["Problems", "Reading", "Request", "conversation", "files_of", "required_path"]


@dataclass(frozen=True)
class Request:
    """Which part of a corpus is wanted; `path` for those that are read from files."""

    path: Path | None = None
    seed: int = 0
    parts: str | None = None
    count: int = 9000


@dataclass
class Reading:
    """Items in the order of the source, digests by file name, counts of what was left out."""

    items: list[Item] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def note_files(self, paths: Iterator[Path] | list[Path]) -> None:
        self.files.update({path.name: sha256_of(path) for path in paths})


def required_path(request: Request, name: str, address: str) -> Path:
    """The path that the user gave; without one, say where the original lives."""
    if request.path is None:
        raise BadInput(
            f"{name} is read from files; name them: {name}=PATH (the original: {address})"
        )
    if not request.path.exists():
        raise MissingInput(f"{request.path} does not exist; the original of {name}: {address}")
    return request.path


def files_of(path: Path, names: Mapping[str, str], what: str) -> dict[str, Path]:
    """A file itself, or the known file names in a folder: path by the name's meaning."""
    if path.is_file():
        return {names.get(path.name, path.stem): path}
    found: dict[str, Path] = {}
    for name, meaning in names.items():
        if (file := path / name).exists():
            if meaning in found:
                raise BadInput(
                    f"{path} holds both {found[meaning].name} and {name}; name one of the files"
                )
            found[meaning] = file
    if not found:
        raise MissingInput(f"{path} holds no file of {what} ({', '.join(names)})")
    return found


def conversation(turns: list[Turn]) -> list[Turn]:
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
