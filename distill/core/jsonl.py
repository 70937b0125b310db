"""Records on disk: one JSON object a line, written whole or not at all.

In: paths. Out: validated records, digests. Refused: broken lines, all of them named once
(BadInput), files that are not there (MissingInput).
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from distill.core.errors import BadInput, MissingInput

Record = TypeVar("Record", bound=BaseModel)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, "utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(existing(path).read_text("utf-8"))
    except ValueError as error:
        raise BadInput(f"{path} is not valid JSON: {error}") from error


def write_jsonl(path: Path, records: Iterable[BaseModel | dict[str, Any]]) -> int:
    """Write one record a line and return how many there were."""
    return write_lines(path, map(line_of, records))


def write_lines(path: Path, lines: Iterable[str]) -> int:
    count = 0
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for line in lines:
            file.write(line + "\n")
            count += 1
    return count


def line_of(record: BaseModel | dict[str, Any]) -> str:
    value = record.model_dump(exclude_none=True) if isinstance(record, BaseModel) else record
    return json.dumps(value, ensure_ascii=False)


def numbered_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Line numbers (from 1) and parsed values; a line that is no JSON yields its ValueError."""
    with existing(path).open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    yield number, error


def read_jsonl(path: Path, kind: type[Record]) -> list[Record]:
    """Every record of a file; BadInput names every line that is broken."""
    problems = Problems()
    records = list(each_record(path, kind, problems))
    if not records and len(problems.lines) > 1:
        refuse_another_kind(path, kind)
    problems.refuse()
    return records


def refuse_another_kind(path: Path, kind: type[BaseModel]) -> None:
    """BadInput in one line for a file of other records, which would be broken line by line."""
    needed = [name for name, held in kind.model_fields.items() if held.is_required()]
    first = next(value for _, value in numbered_lines(path))
    if isinstance(first, dict) and 2 * len(first.keys() & set(needed)) < len(needed):
        raise BadInput(
            f"{path} is another kind of file: it has {', '.join(first)} on a line, and a file of "
            f"type {kind.__name__} has {', '.join(needed)}"
        )


def each_record(path: Path, kind: type[Record], problems: "Problems") -> Iterator[Record]:
    """The records of a file one by one; broken lines go to `problems`."""
    for number, value in numbered_lines(path):
        try:
            if isinstance(value, ValueError):
                raise value
            record = kind.model_validate(value)
        except ValueError as error:
            problems.add(f"{path}:{number}: {plain_reason(error)}")
        else:
            yield record


class Problems:
    """Broken rows, collected so that all of them are listed at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: str) -> None:
        self.lines.append(line)

    def refuse(self) -> None:
        """Raise BadInput when there is any problem."""
        if not self.lines:
            return
        if len(self.lines) == 1:
            raise BadInput(f"{self.lines[0]}; {ADVICE}")
        head = f"{len(self.lines)} broken lines; mend or delete, nothing was written:"
        raise BadInput("\n  ".join([head, *self.lines]))


ADVICE = "mend or delete that line, nothing was written"


def plain_reason(error: ValueError) -> str:
    """One line from a pydantic or JSON error."""
    if isinstance(error, ValidationError):
        parts = [
            f"{'.'.join(str(place) for place in e['loc']) or 'record'}: {e['msg']}"
            for e in error.errors()
        ]
        return "; ".join(parts)
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON ({error.msg} at column {error.colno})"
    return str(error)


WRITERS = {
    "dialogues.jsonl": "distill gather, teach, improve or curate",
    "sft.jsonl": "distill compose",
    "test.jsonl": "distill compose",
}


def existing(path: Path) -> Path:
    if not path.exists():
        writer = WRITERS.get(path.name)
        way = f"; {writer} writes it" if writer else ""
        raise MissingInput(f"{path} does not exist{way}")
    return path


def sha256_of(path: Path) -> str:
    """Digest of a file, or of a folder's files in name order."""
    if path.is_dir():
        inside = (f for f in path.rglob("*") if f.is_file())
        return folder_digest({f.relative_to(path).as_posix(): sha256_of(f) for f in inside})
    with existing(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(inside: Mapping[str, str]) -> str:
    """Digest of a folder from the digests of its files, by their names in it."""
    names = sorted(inside, key=PurePosixPath)
    return digest_text("".join(f"{name}:{inside[name]}\n" for name in names))


def digest_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
