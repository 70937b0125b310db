"""Where a command will write, tried before any work is done or paid for."""

import tempfile
from pathlib import Path

from distill.core.errors import BadInput, Unavailable


def writable_folder(folder: Path) -> Path:
    """Make the folder and try to write in it; Unavailable says why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = (error.strerror or "cannot be used").lower()
        raise Unavailable(f"{folder} cannot be written ({reason}); choose another --out") from error
    return folder


def writable_file(path: Path) -> Path:
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give --out a file name")
    writable_folder(path.parent)
    return path
