"""A folder of files, written whole or not at all.

In: a path and the names that the command writes there. Out: the folder, in place only when all
of it is on the disk. Refused: a folder that holds anything else (BadInput), so that nothing of
somebody's is ever removed, and the folder that the command was started in (BadInput).
"""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.core.errors import BadInput


@contextmanager
def replacing_folder(path: Path, names: Collection[str]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; on success it is synced and takes its place."""
    refuse_foreign(path, names)
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary, former = (
        path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("part", "old")
    )
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        if path.exists():
            path.rename(former)
        temporary.rename(path)
    finally:
        if former.exists() and not path.exists():
            former.rename(path)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def refuse_standing_in(path: Path) -> None:
    """BadInput for the current folder: its shell would be left in one that is deleted."""
    if path.exists() and path.samefile(Path.cwd()):
        raise BadInput(f"{path} is the folder that you are in; choose another --out")


def refuse_foreign(path: Path, names: Collection[str]) -> None:
    refuse_standing_in(path)
    if path.exists() and not path.is_dir():
        raise BadInput(f"{path} is a file, not a folder; choose another --out")
    foreign = sorted(f.name for f in path.iterdir() if f.name not in names) if path.exists() else []
    if foreign:
        raise BadInput(
            f"{path} holds {foreign[0]}, which this command does not write; choose another --out"
        )
