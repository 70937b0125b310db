"""The folder in which a file comes to be, beside where it will stand.

In: the target and what decides the file (a key). Out: a folder that no other export enters, with
what a killed export of the same key had finished. Refused: a folder that an export holds now
(Unavailable).
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.core.errors import Unavailable
from distill.core.progress import say

KEY, LOCK = "key", "lock"


@contextmanager
def workshop(target: Path, key: str) -> Iterator[Path]:
    """Yield the folder; whatever happens inside, it is removed, and a kill leaves it to resume."""
    folder = folder_of(target)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Unavailable(
                f"another export is writing {target} now; wait for it, or choose another --out"
            ) from error
        try:
            clear_unless(folder, key)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def clear_unless(folder: Path, key: str) -> None:
    """Keep what a killed export of the same key finished, remove what it had begun."""
    known = folder / KEY
    same = known.exists() and known.read_text() == key
    for path in folder.iterdir():
        if path.name != LOCK and (not same or path.suffix == ".part"):
            remove(path)
    if same and (kept := sorted(p.name for p in folder.iterdir() if p.name not in (KEY, LOCK))):
        say(f"resuming an export that was cut off; {', '.join(kept)} is there already")
    known.write_text(key)


def once(path: Path, write: Callable[[Path], None]) -> Path:
    """The file, written if it is not there; a name is given only to what is whole."""
    if not path.exists():
        partial = path.with_name(path.name + ".part")
        write(partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.rename(path)
    return path


def folder_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.work")


def refuse_without_room(target: Path, size_bytes: int) -> None:
    """Unavailable when the disk cannot hold what an export writes on its way to `target`.

    What a killed export left counts as room: it is taken up or removed.
    """
    left = sum(path.stat().st_size for path in folder_of(target).glob("*"))
    free = shutil.disk_usage(target.parent).free
    if size_bytes > free + left:
        raise Unavailable(
            f"{target.parent} has {free / 1e6:.0f} MB free and the export needs about "
            f"{(size_bytes - left) / 1e6:.0f} MB; free some space or choose another --out"
        )


def put_in_place(written: Path, target: Path, before: Callable[[], None]) -> None:
    """Give a file or folder its final name; `before` writes what must stand beside it by then.

    What had that name goes first: beside the new manifest it would not verify.
    """
    for part in sorted(written.iterdir()) if written.is_dir() else [written]:
        with part.open("rb") as file:
            os.fsync(file.fileno())
    if target.is_dir():
        target.rename(written.with_name("former.part"))
    target.unlink(missing_ok=True)
    before()
    written.rename(target)


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
