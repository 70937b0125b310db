"""Which exported files a page opens.

In: paths, or none. Out: the files, names that tell them apart, digests. Refused: a file that is not
there, a folder that is no ONNX student, nothing under runs/, more than two files, one file twice
(MissingInput, BadInput).
"""

from collections.abc import Sequence
from pathlib import Path

from distill.core.errors import BadInput, MissingInput
from distill.core.identity import told_digest
from distill.core.jsonl import sha256_of
from distill.core.manifest import BESIDE
from distill.core.naming import artifact_name, exported_artifact

MOST = 2


def chosen(given: Sequence[Path], runs: Path = Path("runs")) -> list[Path]:
    """The files to open: those that are named, and what one alone is best compared with."""
    if len(given) > MOST:
        raise BadInput(f"a page compares two files, and {len(given)} are named; leave some out")
    files = [exported_artifact(path) for path in given] or [newest(runs)]
    if len({path.resolve() for path in files}) < len(files):
        raise BadInput(f"{files[0]} is named twice; name the file to compare it with")
    return files if len(files) == MOST else [*files, *companion(files[0])]


def newest(runs: Path) -> Path:
    """The file that was exported last; of one folder the student's rather than its base's."""
    found = [exported(path) for path in runs.rglob(f"*{BESIDE}")]
    found = [path for path in found if path.exists()]
    if not found:
        raise MissingInput(
            f"no exported file lies under {runs}; make one with: distill quickstart, "
            "or name a file: distill demo chat FILE"
        )
    folder = max(found, key=written).parent
    mine = [path for path in found if path.parent == folder]
    return max([path for path in mine if not is_base(path)] or mine, key=written)


def companion(file: Path) -> list[Path]:
    """A file beside this one to compare it with: its base, else the same at another precision."""
    beside = sorted(exported(path) for path in file.parent.glob(f"*{BESIDE}"))
    others = [path for path in beside if path.exists() and path.resolve() != file.resolve()]
    stem, _, kind = file.stem.partition("-")
    bases = [path for path in others if is_base(path) and not is_base(file)]
    bases.sort(key=lambda path: path.stem.partition("-")[2] != kind)
    same = [path for path in others if path.stem.partition("-")[0] == stem]
    return [*bases, *same][:1]


def exported(manifest: Path) -> Path:
    return manifest.with_name(manifest.name.removesuffix(BESIDE))


def is_base(file: Path) -> bool:
    return file.stem.startswith("base-")


def written(file: Path) -> float:
    return file.stat().st_mtime


def names(files: Sequence[Path]) -> list[str]:
    """What to call the files: their stems, numbered where the stems are equal."""
    stems = [artifact_name(path) for path in files]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{place}-{stem}" for place, stem in enumerate(stems, 1)]


def digest(file: Path) -> str:
    """What the manifest states, since the file's own server checks that; else by reading it."""
    return told_digest(file) or sha256_of(file)
