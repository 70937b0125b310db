"""Records that are written down as they are made, so that a killed run pays for none twice.

In: a path and a record class. Out: the records that are already there, and `append`. A last line
that a kill cut off is dropped; a broken line anywhere else is refused (BadInput).
"""

import os
import threading
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from pydantic import BaseModel

from distill.core.jsonl import read_jsonl

Record = TypeVar("Record", bound=BaseModel)


class Journal(Generic[Record]):
    """An append-only file of records; each is on the disk before `append` returns.

    The file is made by the first `append`: a run that came to nothing leaves nothing.
    """

    def __init__(self, path: Path, kind: type[Record]) -> None:
        drop_cut_line(path)
        self.path = path
        self.records = read_jsonl(path, kind) if path.exists() else []
        self.lock = threading.Lock()
        self.file: BinaryIO | None = None

    def append(self, record: Record) -> None:
        """Write one line; safe to call from several threads."""
        line = record.model_dump_json(exclude_none=True) + "\n"
        with self.lock:
            if self.file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self.file = self.path.open("ab")
            self.file.write(line.encode())
            self.file.flush()
            os.fsync(self.file.fileno())
            self.records.append(record)

    def __enter__(self) -> "Journal[Record]":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()


def drop_cut_line(path: Path) -> None:
    """Cut the file after its last line end: what follows was never finished."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        whole = file.read()
        file.truncate(whole.rfind(b"\n") + 1)
