"""Damaged and hostile GGUF files: is each refused, how soon, and does the process live on?

    python -m tests.benchmarks.mutated_files FILE [--count 500] [--seed 0] [--json]

FILE is a sound GGUF file. Every mutation makes it unsound: a count, length, type, shape, offset or
number of its header is replaced by one that cannot be, the file is cut, a key is doubled, or its
chat template is exchanged for a hostile one. Each is opened by `runtime.load` in this process;
afterwards the sound file must still answer.
"""

import json as json_format
import random
import resource
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from distill.core.errors import KindredError
from runtime import load
from runtime.header import ARRAY, COUNTS, MAY_BE_ZERO, NUMBERS, STRING, padded
from tests.runtime.test_template import BROKEN, HOSTILE

HUGE = (2**63, 2**64 - 1, 2**40, 2**32 + 1)
HARMFUL: dict[str, tuple[int, ...]] = {
    "version": (0, 1, 4, 99, 2**31),
    "count": HUGE,
    "length": HUGE,
    "kind": (13, 255, 2**31),
    "dimensions": (0, 5, 2**31),
    "dimension": (0, *HUGE),
    "tensor kind": (4, 5, 31, 38, 255, 2**31),
    "offset": (1, 31, *HUGE),
    "counted": (0, 2**28, 2**31),
    "token": (2**24, 2**31),
    "alignment": (0, 1, 7, 48, 2**31),
}


class Place(NamedTuple):
    """A number of the header: what it means, where it is, and how it is written."""

    what: str
    at: int
    form: str


class Walk:
    """A sound file, read field by field."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 4
        self.places: list[Place] = []
        self.keys: dict[str, tuple[int, int]] = {}
        self.template = (0, 0)
        self._number("version", "I")
        tensors, keys = self._number("count", "Q"), self._number("count", "Q")
        self.keys_start = self.at
        for _ in range(keys):
            self._key()
        self.keys_end = self.at
        for _ in range(tensors):
            self._tensor()
        self.end = self.at

    def _number(self, what: str, form: str) -> int:
        value = struct.unpack_from("<" + form, self.data, self.at)[0]
        self.places.append(Place(what, self.at, form))
        self.at += struct.calcsize(form)
        return int(value)

    def _string(self) -> str:
        length = self._number("length", "Q")
        self.at += length
        return self.data[self.at - length : self.at].decode("utf-8", "replace")

    def _key(self) -> None:
        start = self.at
        key = self._string()
        kind = self._number("kind", "I")
        if kind == STRING:
            if key == "tokenizer.chat_template":
                self.template = (self.at, self.at + 8 + self._peek("Q"))
            self._string()
        elif kind == ARRAY:
            inner, count = self._number("kind", "I"), self._number("count", "Q")
            if inner == STRING:
                known = len(self.places)
                for _ in range(count):
                    self._string()
                del self.places[known + 4 :]  # some lengths stand for all
            else:
                self.at += count * struct.calcsize(NUMBERS[inner])
        else:
            self._number(meaning(key), NUMBERS[kind])
        self.keys[key] = (start, self.at)

    def _tensor(self) -> None:
        self._string()
        for _ in range(self._number("dimensions", "I")):
            self._number("dimension", "Q")
        self._number("tensor kind", "I")
        self._number("offset", "Q")

    def _peek(self, form: str) -> int:
        return int(struct.unpack_from("<" + form, self.data, self.at)[0])

    def rebuilt(self, header: bytes) -> bytes:
        """A header with the weights behind it, where they belong."""
        gap = padded(len(header), 32) - len(header)
        return header + bytes(gap) + self.data[padded(self.end, 32) :]


def meaning(key: str) -> str:
    """What a number is, as far as some values of it are impossible."""
    if key == "general.alignment":
        return "alignment"
    if key.endswith("_token_id"):
        return "token"
    name = key.partition(".")[2]
    return "counted" if name in COUNTS and name not in MAY_BE_ZERO else "free"


def replaced(walk: Walk, draw: random.Random) -> tuple[str, bytes]:
    place = draw.choice([p for p in walk.places if p.what in HARMFUL])
    bits = 8 * struct.calcsize(place.form)
    value = draw.choice([v for v in HARMFUL[place.what] if v < 2**bits])
    data = bytearray(walk.data)
    struct.pack_into("<" + place.form.upper(), data, place.at, value)
    return f"{place.what} at {place.at} is {value}", bytes(data)


def cut(walk: Walk, draw: random.Random) -> tuple[str, bytes]:
    end = draw.choice([draw.randrange(4, walk.end), draw.randrange(walk.end, len(walk.data))])
    return f"cut at {end}", walk.data[:end]


def doubled(walk: Walk, draw: random.Random) -> tuple[str, bytes]:
    key = draw.choice(list(walk.keys))
    start, end = walk.keys[key]
    head = bytearray(walk.data[: walk.keys_end] + walk.data[start:end])
    struct.pack_into("<Q", head, 16, len(walk.keys) + 1)
    return f"{key} twice", walk.rebuilt(bytes(head) + walk.data[walk.keys_end : walk.end])


def misled(walk: Walk, draw: random.Random) -> tuple[str, bytes]:
    source = draw.choice(HOSTILE + BROKEN)
    return f"template {source[:40]!r}", with_template(walk, source.encode())


def garbled(walk: Walk, draw: random.Random) -> tuple[str, bytes]:
    """Bytes that are no text where the template was."""
    return "template of no text", with_template(walk, draw.randbytes(40) + b"\xff")


def with_template(walk: Walk, source: bytes) -> bytes:
    start, end = walk.template
    text = struct.pack("<Q", len(source)) + source
    return walk.rebuilt(walk.data[:start] + text + walk.data[end : walk.end])


KINDS: list[Callable[[Walk, random.Random], tuple[str, bytes]]] = [
    replaced, replaced, replaced, replaced, cut, doubled, misled, garbled,
]  # fmt: skip


def mutations(path: Path, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """What was done, and the file that came of it."""
    walk, draw = Walk(path.read_bytes()), random.Random(seed)
    for number in range(count):
        yield KINDS[number % len(KINDS)](walk, draw)


def opened(path: Path, data: bytes) -> dict[str, Any]:
    """Whether a file is refused, and what that costs."""
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, used = time.perf_counter(), time.process_time()
    try:
        load(path, threads=1).close()
        refusal = None
    except KindredError as error:
        refusal = str(error)
    took_s, used_s = time.perf_counter() - started, time.process_time() - used
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"refusal": refusal, "took_s": took_s, "used_s": used_s, "grown_mb": grown / 1024}


def main(
    file: Annotated[Path, typer.Argument(help="A sound GGUF file.")],
    count: Annotated[int, typer.Option(help="How many mutations.")] = 500,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Open mutated files one after another."""
    rows = []
    with load(file, threads=1) as engine, tempfile.TemporaryDirectory() as folder:
        for what, data in mutations(file, count, seed):
            rows.append({"what": what, **opened(Path(folder) / "mutated.gguf", data)})
        reply = engine.chat([{"role": "user", "content": "hi"}], max_tokens=3, seed=1)
        alive = bool(list(reply))
    accepted = [row["what"] for row in rows if row["refusal"] is None]
    slowest = max(rows, key=lambda row: row["took_s"])
    found = {
        "files": len(rows),
        "refused": len(rows) - len(accepted),
        "accepted": accepted,
        "slowest_s": round(slowest["took_s"], 3),
        "slowest_processor_s": round(max(row["used_s"] for row in rows), 3),
        "slowest": slowest["what"],
        "grown_mb": round(sum(row["grown_mb"] for row in rows), 1),
        "answers_afterwards": alive,
    }
    typer.echo(json_format.dumps(found, indent=None if json else 1))


if __name__ == "__main__":
    typer.run(main)
