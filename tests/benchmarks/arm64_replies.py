"""Greedy replies of one file, and the logits behind each token; the same script on every machine.

    python -m tests.benchmarks.arm64_replies FILE ROWS < conversations.json

In: a GGUF file or an ONNX folder; as JSON, `conversations` and the most `tokens` of a reply.
Out: what was chosen, as one line of JSON; the logits go to ROWS, `[tokens of all replies, V]` in
float32, so that they take no memory of the process whose peak is told. Imports the runtime alone.
"""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import runtime
from runtime.backends import Sampling, Work
from runtime.engine import Engine


def answer(
    engine: Engine, messages: Sequence[Mapping[str, str]], limit: int, rows: BinaryIO
) -> dict[str, list[int]]:
    """One reply, its prompt evaluated anew: what lies in the cache would round it differently."""
    backend, ids = engine.backend, engine.prompt_ids(messages)
    backend.keep(0, 0)
    for start in range(0, len(ids), backend.chunk):
        part = ids[start : start + backend.chunk]
        backend.decode([Work(0, part, start, start + len(part) == len(ids))])
    penalty = backend.repetition_penalty
    sampler = backend.sampler(Sampling(temperature=0, repetition_penalty=penalty))
    tokens: list[int] = []
    while True:
        rows.write(backend.logits(0).tobytes())
        tokens.append(sampler.next(0))
        if backend.is_end(tokens[-1]) or len(tokens) == limit:
            sampler.close()
            return {"prompt": ids, "tokens": tokens}
        backend.decode([Work(0, tokens[-1:], len(ids) + len(tokens) - 1, True)])


def peak_bytes() -> int:
    """The highest resident size of this process; under emulation the emulator's own is in it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main(file: Path, rows: Path) -> None:
    wanted: dict[str, Any] = json.load(sys.stdin)
    with runtime.load(file, threads=1) as engine, rows.open("wb") as out:
        replies = [answer(engine, each, wanted["tokens"], out) for each in wanted["conversations"]]
        first = wanted["conversations"][0]
        said = engine.chat(first, temperature=0, max_tokens=wanted["tokens"])
        told = {
            "machine": platform.machine(),
            "vocabulary": engine.backend.vocabulary,
            "penalty": engine.backend.repetition_penalty,
            "text": "".join(piece.text for piece in said),
            "replies": replies,
            "peak_bytes": peak_bytes(),
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
