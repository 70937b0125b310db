"""The weights of a checkpoint folder, checked before any of them is mapped.

In: a folder. Out: for every tensor its file, its shape, in the order of the bytes on disk.
Refused: pickled weights, which are never opened; links and names that lead out of the folder;
headers that are too large, run past the end of their file, or place tensors outside of it, over
each other or with holes (BadInput); types that are no plain floats (Unsupported); weights that
are not there (MissingInput).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, MissingInput, Unsupported
from distill.core.jsonl import existing

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
BYTES_OF = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
LENGTH_BYTES = 8
# Real headers take about 100 bytes a tensor, real configs a few thousand bytes.
MOST_HEADER_BYTES = 16 << 20
MOST_CONFIG_BYTES = 1 << 20
MOST_TOKENIZER_BYTES = 128 << 20


@dataclass(frozen=True)
class Stored:
    """Where a tensor lies and how large it is."""

    file: Path
    shape: tuple[int, ...]


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """Every tensor of the folder's safetensors files; no weight is read."""
    files = weight_files(folder)
    found: dict[str, Stored] = {}
    for file in dict.fromkeys(files.values()) if files else [folder / SINGLE]:
        for name, stored in checked_header(file).items():
            if name in found:
                raise BadInput(f"{file} holds {name}, and so does {found[name].file}; delete one")
            found[name] = stored
    for name, file in files.items():
        if name not in found or found[name].file != file:
            raise BadInput(f"{folder / INDEX} says that {file.name} holds {name}, and it does not")
    return found


def weight_files(folder: Path) -> dict[str, Path]:
    """The file of every tensor by the index; nothing where one file holds all."""
    if (folder / INDEX).exists():
        table = checked_json(folder / INDEX, MOST_HEADER_BYTES).get("weight_map")
        if not isinstance(table, dict) or not table:
            raise BadInput(f"{folder / INDEX} has no weight_map; save the checkpoint again")
        return {name: inside(folder, file) for name, file in table.items()}
    if not (folder / SINGLE).exists():
        if pickled := sorted(path.name for kind in PICKLES for path in folder.glob(kind)):
            raise BadInput(
                f"{folder} holds pickled weights ({pickled[0]}), which can run code and are never "
                "loaded; save it with safe_serialization=True"
            )
        raise MissingInput(f"{folder} has no {SINGLE}")
    return {}


def inside(folder: Path, name: Any) -> Path:
    """The file of this plain name in the folder."""
    if not isinstance(name, str) or Path(name).name != name or not name.endswith(".safetensors"):
        raise BadInput(
            f"{folder / INDEX} names the file {str(name)[:80]!r}; only .safetensors files of that "
            "folder are read"
        )
    return existing(folder / name)


def refuse_links(folder: Path) -> None:
    """Links may stay in the folder, or lead to the blobs of its own Hugging Face cache."""
    root = folder.resolve()
    allowed = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for path in sorted(folder.iterdir()):
        target = path.resolve()
        if path.is_symlink() and not any(target.is_relative_to(place) for place in allowed):
            raise BadInput(f"{path} is a link that leads out of its folder; put a copy there")


def checked_json(path: Path, most_bytes: int = MOST_CONFIG_BYTES) -> dict[str, Any]:
    """A JSON object of bounded size."""
    size = existing(path).stat().st_size
    if size > most_bytes:
        raise BadInput(f"{path} has {size} bytes; at most {most_bytes} are read")
    return json_object(path.read_bytes(), path)


def json_object(raw: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(raw, object_pairs_hook=without_twins)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not valid JSON: {str(error)[:120]}") from error
    if not isinstance(value, dict):
        raise BadInput(f"{path} is not valid JSON of the expected kind, an object")
    return value


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return value


def checked_header(file: Path) -> dict[str, Stored]:
    """Names and shapes of one file, whose bytes they fill without a gap."""
    size = existing(file).stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        data_bytes = size - LENGTH_BYTES - length
        if data_bytes < 0 or length > MOST_HEADER_BYTES:
            raise broken(file, f"its header says it has {length} bytes, the file has {size}")
        header = json_object(stream.read(length), file)
    header.pop("__metadata__", None)
    placed = sorted((place_of(file, name, entry), name) for name, entry in header.items())
    end = 0
    for (first, last, _), name in placed:
        if first != end:
            raise broken(file, f"{name} begins at byte {first}, and what precedes it ends at {end}")
        end = last
    if end != data_bytes:
        raise broken(file, f"its tensors take {end} bytes, and {data_bytes} are there")
    return {name: Stored(file, shape) for (_, _, shape), name in placed}


def place_of(file: Path, name: str, entry: Any) -> tuple[int, int, tuple[int, ...]]:
    """First byte, last byte and shape of a tensor, which agree with each other."""
    try:
        dtype, shape, (first, last) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, first, last]
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise ValueError("a size is no whole number")
    except (KeyError, TypeError, ValueError) as error:
        raise broken(file, f"the entry of {name[:80]} cannot be read") from error
    if dtype not in BYTES_OF:
        raise Unsupported(
            f"{file} holds {name} as {str(dtype)[:20]}; the export reads {', '.join(BYTES_OF)}: "
            "give the checkpoint before it was quantized"
        )
    if last - first != math.prod(shape) * BYTES_OF[dtype]:
        raise broken(file, f"{name} has the shape {shape} and {last - first} bytes")
    return first, last, tuple(shape)


def broken(file: Path, why: str) -> BadInput:
    return BadInput(f"{file} is not a whole safetensors file: {why}; copy or save it again")


def opened(file: Path) -> Any:
    """A weights file whose header was checked, as safetensors reads it."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(file, framework="pt")
    except SafetensorError as error:
        raise broken(file, str(error)) from error
