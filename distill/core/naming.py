"""What an exported artifact is called, by whatever path a person gave for it.

In: a path; `.` and `..` are what people type who stand in an ONNX folder. Out: a path that ends in
the artifact's name, that name, the folder of its run. Refused: a path at which there is nothing
(MissingInput), a folder that holds no ONNX student (BadInput).
"""

from pathlib import Path

from distill.core.errors import BadInput, MissingInput

HOME = "edge"
ONNX_MARK, CHECKPOINT_MARKS = "genai_config.json", ("config.json", "adapter_config.json")


def named(path: Path) -> Path:
    """The same place, by a path that ends in its name."""
    return path.resolve() if path.name in ("", "..") else path


def artifact_name(artifact: Path) -> str:
    """A file's name without its ending, or a folder's whole name, which may hold dots."""
    whole = named(artifact)
    return whole.name if whole.is_dir() else whole.stem


def run_of(artifact: Path) -> Path:
    """The folder of the run that an artifact was exported in, or else the one that it lies in."""
    folder = named(artifact).parent
    home = named(folder)
    return home.parent if home.name == HOME else folder


def exported_artifact(path: Path) -> Path:
    """What lies at a path, by its name, where it can be a file that was exported, or a folder.

    Raises MissingInput where nothing lies there, BadInput for a folder without an ONNX student.
    """
    if not path.exists():
        raise MissingInput(
            f"{path} does not exist; write it with: distill export gguf STUDENT --bits 4"
        )
    if path.is_dir() and not is_onnx(path):
        if any((path / mark).is_file() for mark in CHECKPOINT_MARKS):
            raise BadInput(
                f"{path} is a checkpoint, not an exported file; write one with: "
                f"distill export gguf {path} --bits 4"
            )
        raise BadInput(f"{path} is a folder with no ONNX student in it; give a .gguf file")
    return named(path)


def is_onnx(path: Path) -> bool:
    """Whether a folder is one that `distill export onnx` writes."""
    return (path / ONNX_MARK).is_file()
