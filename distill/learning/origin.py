"""Where a student starts from, found before anything heavy is imported.

In: a folder, a name of the Hub, or `starter`. Out: a local folder. Refused: a student that is not
there (MissingInput).
"""

from importlib import resources
from pathlib import Path
from textwrap import shorten

from distill.core.errors import MissingInput

STARTER = "starter"
WANTED = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]
UNWANTED = ["consolidated*", "original/*", "onnx/*", "runs/*"]


def bundled_base() -> Path:
    return Path(str(resources.files("distill").joinpath("starter", "base")))


def name_of(student: str, folder: Path) -> str:
    """How provenance calls a student: the bundled base has no path that means anything."""
    bundled = bundled_base()
    return STARTER if bundled.is_dir() and folder.samefile(bundled) else student


def local_folder(student: str) -> Path | None:
    """The folder of a student that needs no network, None for a name of the Hub."""
    folder = bundled_base() if student == STARTER else Path(student)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise MissingInput(f"{folder} holds no config.json, so it is no student")
        return folder
    looks_local = student == STARTER or student.startswith((".", "/", "~")) or "/" not in student
    if looks_local or student.count("/") > 1:
        raise MissingInput(
            f"there is no student {student}: give the folder of a checkpoint, or a name of the "
            "Hub like Qwen/Qwen3-0.6B"
        )
    return None


def fetched_folder(student: str) -> Path:
    """A local folder with all that training needs, downloaded when it is a name of the Hub."""
    folder = local_folder(student)
    if folder is not None:
        return folder
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(student, allow_patterns=WANTED, ignore_patterns=UNWANTED))
    except Exception as error:
        raise unreachable(student, error) from error


def unreachable(student: str, error: Exception) -> MissingInput:
    reason = shorten(str(error), 160, placeholder=" ...") or type(error).__name__
    return MissingInput(
        f"{student} is no folder here, and the Hub did not give it ({reason}); go online, "
        "log in if it is gated, or give a local folder"
    )
