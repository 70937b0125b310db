"""The header of a GGUF file, read within bounds before native code sees it.

In: a path. Out: `Header`: scalar metadata, lengths of arrays, tensors. Refused (BadInput, with the
place): sizes, counts, types, names and offsets that a file of this length cannot have, or that a
model has no use for. Reads once, front to back, and keeps neither arrays nor weights.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from distill.core.errors import BadInput, Unsupported

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MAX_KEYS = 4096
MAX_TENSORS = 32_768
MAX_KEY_BYTES = 256
MAX_TENSOR_NAME_BYTES = 63  # ggml keeps names in 64 bytes
MAX_STRING_BYTES = 1 << 20
MAX_STRINGS = 1 << 20  # in all arrays together
MAX_ELEMENTS = 1 << 22  # numbers of one array
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 4096
WINDOW_BYTES = 1 << 20
NO_TOKEN = 0xFFFFFFFF

BOOL, STRING, ARRAY = 7, 8, 9
NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 10: "Q", 11: "q", 12: "d"}
NUMBERS[BOOL] = "B"
# Tensor type: elements and bytes of a block (ggml.h; numbers that are missing were withdrawn).
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
    10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
    16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18),
    21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2), 26: (1, 4), 27: (1, 8),
    28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip


class Length(NamedTuple):
    """What is kept of an array: the type of its elements and how many there are."""

    kind: int
    entries: int


class Tensor(NamedTuple):
    shape: tuple[int, ...]
    kind: int
    offset: int
    size_bytes: int


@dataclass
class Header:
    """Metadata by key, tensors by name, and where the weights begin."""

    keys: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    data_start: int = 0

    @property
    def template(self) -> str | None:
        found = self.keys.get("tokenizer.chat_template")
        return found if isinstance(found, str) else None


class Bytes:
    """A file's bytes in order, never more than the file has."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self._window, self._at = b"", 0
        self.place = 0

    def take(self, count: int) -> bytes:
        if count > self._size - self.place:
            raise BadInput(f"it ends at byte {self._size}, in the middle of its header")
        while len(self._window) - self._at < count:
            more = self._file.read(max(WINDOW_BYTES, count))
            if not more:
                raise BadInput("it became shorter while it was read")
            self._window, self._at = self._window[self._at :] + more, 0
        taken = self._window[self._at : self._at + count]
        self._at += count
        self.place += count
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def string(self, limit: int, what: str) -> bytes:
        length = self.number("Q")
        if length > limit:
            raise BadInput(f"{what} has {length} bytes; at most {limit} are accepted")
        return self.take(length)

    def text(self, limit: int, what: str) -> str:
        try:
            return self.string(limit, what).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadInput(f"{what} is not UTF-8") from error

    def skip(self, count: int) -> None:
        while count > 0:
            count -= len(self.take(min(count, WINDOW_BYTES)))


class Reader:
    """One reading of one header."""

    def __init__(self, source: Bytes, size: int) -> None:
        self._source, self._size = source, size
        self._strings = 0
        self._header = Header()

    def read(self) -> Header:
        source = self._source
        if source.take(4) != MAGIC:
            raise BadInput("it does not begin with GGUF")
        version = source.number("I")
        if version not in VERSIONS:
            raise Unsupported(f"its version is {version}; versions 2 and 3 are read")
        tensors, keys = source.number("Q"), source.number("Q")
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise BadInput(f"it claims {tensors} tensors and {keys} keys; that is no model")
        for _ in range(keys):
            self._key()
        for _ in range(tensors):
            self._tensor()
        self._weights()
        return self._header

    def _key(self) -> None:
        key = self._source.text(MAX_KEY_BYTES, "a key")
        if not key or not key.isprintable() or key in self._header.keys:
            raise BadInput(f"the key {key!r} is empty, unprintable or there twice")
        self._header.keys[key] = self._value(key, self._source.number("I"))

    def _value(self, key: str, kind: int) -> Any:
        if kind == STRING:
            return self._source.text(MAX_STRING_BYTES, key)
        if kind == ARRAY:
            return self._array(key)
        if kind not in NUMBERS:
            raise BadInput(f"{key} has the type {kind}, which is not there")
        value = self._source.number(NUMBERS[kind])
        if kind == BOOL and value > 1:
            raise BadInput(f"{key} is a truth value of {value}")
        return bool(value) if kind == BOOL else value

    def _array(self, key: str) -> Any:
        kind, count = self._source.number("I"), self._source.number("Q")
        if kind == STRING:
            self._strings += count
            if self._strings > MAX_STRINGS:
                raise BadInput(f"{key} has {count} strings; at most {MAX_STRINGS} are accepted")
            for _ in range(count):
                self._source.string(MAX_STRING_BYTES, key)
        elif kind in NUMBERS:
            if count > MAX_ELEMENTS:
                raise BadInput(f"{key} has {count} numbers; at most {MAX_ELEMENTS} are accepted")
            self._source.skip(count * struct.calcsize("<" + NUMBERS[kind]))
        else:
            raise BadInput(f"{key} is an array of the type {kind}; strings and numbers are read")
        return Length(kind, count)

    def _tensor(self) -> None:
        source = self._source
        name = source.text(MAX_TENSOR_NAME_BYTES, "a tensor's name")
        if not name or not name.isprintable() or name in self._header.tensors:
            raise BadInput(f"the tensor name {name!r} is empty, unprintable or there twice")
        count = source.number("I")
        if not 1 <= count <= MAX_DIMENSIONS:
            raise BadInput(f"{name} has {count} dimensions; there are 1 to {MAX_DIMENSIONS}")
        shape = tuple(source.number("Q") for _ in range(count))
        kind, offset = source.number("I"), source.number("Q")
        if kind not in BLOCKS:
            raise BadInput(f"{name} has the type {kind}, which is not there")
        self._header.tensors[name] = Tensor(shape, kind, offset, self._bytes_of(name, shape, kind))

    def _bytes_of(self, name: str, shape: tuple[int, ...], kind: int) -> int:
        elements, size = BLOCKS[kind]
        count = 1
        for length in shape:
            count *= length
            if not 0 < count <= self._size * 16:  # no type packs more than 8 elements in a byte
                raise BadInput(f"{name} has the shape {shape}, which this file cannot hold")
        if shape[0] % elements:
            raise BadInput(f"{name} has rows of {shape[0]}, no multiple of {elements}")
        return count // elements * size

    def _weights(self) -> None:
        """Tensors follow one another without gap or overlap, and end within the file."""
        alignment = self._header.keys.get("general.alignment", 32)
        sound = type(alignment) is int and 8 <= alignment <= MAX_ALIGNMENT
        if not sound or alignment & (alignment - 1):
            raise BadInput(f"general.alignment is {alignment}; want a power of two from 8")
        start = self._header.data_start = padded(self._source.place, alignment)
        expected = 0
        for name, tensor in self._header.tensors.items():
            if tensor.offset != expected:
                raise BadInput(f"{name} is at {tensor.offset}, and its place is {expected}")
            if start + expected + tensor.size_bytes > self._size:
                raise BadInput(f"it ends at byte {self._size}, in the middle of {name}")
            expected = padded(expected + tensor.size_bytes, alignment)


def padded(place: int, alignment: int) -> int:
    return (place + alignment - 1) // alignment * alignment


def read_header(path: Path) -> Header:
    """Read and check a file's header, without what it means as a model."""
    size = path.stat().st_size
    with path.open("rb") as file:
        return Reader(Bytes(file, size), size).read()


# Counts of a model that llama.cpp divides by, or takes as the length of a fixed array.
COUNTS: Mapping[str, int] = {
    "block_count": 512,
    "embedding_length": 1 << 17,
    "feed_forward_length": 1 << 20,
    "context_length": 1 << 27,
    "attention.head_count": 1024,
    "attention.head_count_kv": 1024,
    "attention.key_length": 1 << 14,
    "attention.value_length": 1 << 14,
    "rope.dimension_count": 1 << 14,
    "vocab_size": 1 << 22,
    "expert_count": 1024,
    "expert_used_count": 1024,
}
REQUIRED = ("block_count", "embedding_length", "context_length")
MAY_BE_ZERO = ("expert_count", "expert_used_count")


def check_model(header: Header) -> None:
    """Refuse numbers that no language model has: what native code would count or index by."""
    keys = header.keys
    architecture = keys.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise BadInput("general.architecture is missing: it holds no model")
    if keys.get("split.count", 0) not in (0, 1):
        raise Unsupported("it is one part of a split model; join the parts into one file")
    for name, most in COUNTS.items():
        value = keys.get(f"{architecture}.{name}")
        if value is None and name not in REQUIRED:
            continue
        least = 0 if name in MAY_BE_ZERO else 1
        if isinstance(value, Length):  # one number a layer
            value = value.entries if value.entries <= COUNTS["block_count"] else None
        if type(value) is not int or not least <= value <= most:
            raise BadInput(f"{architecture}.{name} is {value}; want {least} to {most}")
    _check_vocabulary(keys)


def _check_vocabulary(keys: Mapping[str, Any]) -> None:
    tokens = keys.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, Length) or tokens.kind != STRING or not tokens.entries:
        raise BadInput("tokenizer.ggml.tokens is no list of texts: it holds no vocabulary")
    for name in ("scores", "token_type"):
        found = keys.get(f"tokenizer.ggml.{name}")
        if found is not None and (not isinstance(found, Length) or found.entries != tokens.entries):
            raise BadInput(f"tokenizer.ggml.{name} is no list of {tokens.entries} numbers")
    for key, value in keys.items():
        if not (key.startswith("tokenizer.ggml.") and key.endswith("_token_id")):
            continue
        if type(value) is not int or not (0 <= value < tokens.entries or value == NO_TOKEN):
            raise BadInput(f"{key} is {value}; the vocabulary has {tokens.entries} tokens")
