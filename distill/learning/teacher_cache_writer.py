"""Rows into a store, shard by shard, so that a kill costs one unfinished shard.

In: replies with the tensors of their tokens. Out: shards of bounded size, each written whole or
not at all, and an index over all of them. Refused: a folder that another teacher, prompt,
template, tokenizer or precision filled (BadInput); a disk that is full (Unavailable).

A shard says itself which replies it holds, so what is there is known from the shards alone: a
killed run continues after the last whole one. Several machines may write parts of one store into
one folder; whoever ends writes the index anew.

Shapes: R replies, N response tokens.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from distill.core.errors import BadInput, CheckFailed, Unavailable
from distill.core.jsonl import read_json, replacing, write_json
from distill.learning.projection import Head
from distill.learning.storage import is_full
from distill.learning.teacher import Taught
from distill.learning.teacher_cache import (
    HEAD,
    HEADER,
    INDEX,
    SHARDS,
    VOCABULARY,
    Rows,
    StoreHeader,
)

SHARD_BYTES = 2**28
KEY_BYTES = 32


@dataclass
class StoreWriter:
    """Collects rows and writes them as `rows-PART-NUMBER.safetensors`."""

    folder: Path
    part: str = "1-of-1"
    shard_bytes: int = SHARD_BYTES
    known: set[str] = field(init=False)
    waiting: list[tuple[Taught, Rows]] = field(default_factory=list)
    size_bytes: int = 0

    def __post_init__(self) -> None:
        for cut in self.folder.glob(f".rows-{self.part}-*"):
            cut.unlink()
        self.known = {key for shard in shards_of(self.folder) for key in keys_of(shard)}

    def add(self, taught: Taught, rows: Rows) -> None:
        """Keep the rows of one reply; a full shard is written at once."""
        if taught.key in self.known:
            return
        self.known.add(taught.key)
        self.waiting.append((taught, rows))
        self.size_bytes += sum(tensor.nbytes for tensor in rows.values())
        if self.size_bytes >= self.shard_bytes:
            self.flush()

    def flush(self) -> None:
        """Write what waits as the next shard of this part."""
        if not self.waiting:
            return
        numbers = [int(shard.stem.rpartition("-")[2]) for shard in self.folder.glob(self.name("*"))]
        tensors = {
            name: torch.cat([rows[name] for _, rows in self.waiting]).contiguous()
            for name in self.waiting[0][1]
        }
        replies = [taught for taught, _ in self.waiting]
        tensors["token"] = torch.tensor([i for t in replies for i in t.reply_ids]).int()
        tensors["keys"] = key_rows([taught.key for taught in replies])
        tensors["counts"] = torch.tensor([len(taught.reply_ids) for taught in replies]).int()
        number = f"{max(numbers, default=-1) + 1:05d}"
        save_tensors(self.folder / self.name(number), tensors)
        self.waiting, self.size_bytes = [], 0

    def name(self, number: str) -> str:
        return f"rows-{self.part}-{number}.safetensors"


def begin(
    folder: Path, header: StoreHeader, head: Head | None, vocabulary: Mapping[str, int]
) -> None:
    """Make a store, or find the same one there; BadInput when it is another one's."""
    path = folder / HEADER
    if path.exists():
        refuse_other(folder, StoreHeader.model_validate(read_json(path)), header)
        return
    folder.mkdir(parents=True, exist_ok=True)
    if head is not None:
        save_tensors(folder / HEAD, head_tensors(head, header.layout.vocabulary))
    write_json(folder / VOCABULARY, dict(vocabulary))
    # Last, so that a store with a header has all that it starts with.
    write_json(path, header.model_dump())


def refuse_other(folder: Path, found: StoreHeader, wanted: StoreHeader) -> None:
    mine, theirs = flat(wanted), flat(found)
    for name, value in mine.items():
        if theirs.get(name) != value:
            raise BadInput(
                f"{folder} was begun with {name} {theirs.get(name)}, and now it is {value}; "
                "choose another --out, or ask for the same again"
            )


def flat(header: StoreHeader) -> dict[str, Any]:
    """All that must agree; a teacher may have moved."""
    values = header.identity.model_dump() | header.layout.model_dump() | header.model_dump()
    return {n: v for n, v in values.items() if n not in ("identity", "layout", "teacher")}


def head_tensors(head: Head, vocabulary: int) -> Rows:
    """The head without its padding, in bf16 where that loses nothing."""
    cut = head.cut(vocabulary)
    tensors = {"weight": cut.weight_VD}
    if cut.bias_V is not None:
        tensors["bias"] = cut.bias_V
    return {name: narrow(tensor.detach().cpu()) for name, tensor in tensors.items()}


def narrow(tensor: Tensor) -> Tensor:
    half = tensor.to(torch.bfloat16)
    return (half if torch.equal(half.to(tensor.dtype), tensor) else tensor).clone().contiguous()


def save_tensors(path: Path, tensors: Rows) -> None:
    try:
        with replacing(path) as temporary:
            save_file(tensors, temporary)
    except Exception as error:
        if not is_full(error):
            raise
        raise Unavailable(
            f"no space is left for {path}; free some and run the same command again, which goes on "
            "after the last whole shard"
        ) from error


def shards_of(folder: Path) -> list[Path]:
    return sorted(folder.glob(SHARDS))


def opened(path: Path) -> Any:
    """A shard, mapped into memory; CheckFailed when it is cut or overwritten."""
    try:
        return safe_open(path, "pt")
    except SafetensorError as error:
        raise CheckFailed(
            f"{path} is damaged ({error}); delete it and run `distill teach states` again, which "
            "fills the gap"
        ) from error


def keys_of(shard: Path) -> Iterator[str]:
    rows = opened(shard).get_tensor("keys").numpy()
    return (row.tobytes().hex() for row in rows)


def key_rows(keys: list[str]) -> Tensor:
    return bytes_tensor(bytes.fromhex("".join(keys))).view(-1, KEY_BYTES)


def bytes_tensor(content: bytes) -> Tensor:
    return torch.from_numpy(numpy.frombuffer(bytearray(content), numpy.uint8))


def write_index(folder: Path) -> tuple[int, int]:
    """Sort all replies by key; returns how many there are, and how many tokens.

    A reply that two machines stored is listed once.
    """
    places: dict[str, tuple[int, int, int]] = {}
    shards = shards_of(folder)
    for number, shard in enumerate(shards):
        offset = 0
        for key, count in zip(keys_of(shard), opened(shard).get_tensor("counts"), strict=True):
            places.setdefault(key, (number, offset, int(count)))
            offset += int(count)
    keys = sorted(places)
    index = {
        "keys": key_rows(keys),
        "places": torch.tensor([places[key] for key in keys], dtype=torch.int64).view(-1, 3),
    }
    # The names are part of the index: a shard that is not among them was never indexed.
    index["shards"] = bytes_tensor("\n".join(shard.name for shard in shards).encode())
    save_tensors(folder / INDEX, index)
    return len(keys), sum(count for _, _, count in places.values())
