"""An exported file under emulated ARM64, beside this machine.

    python -m tests.benchmarks.arm64 FILE ... [--tokens 16] [--memory-mb 512] [--cache runs/arm64]

In: GGUF files and ONNX folders. Out: per file, whether Kindred's own runtime opens it there, how
many of 50 greedy replies are the same tokens, by what gap of logits the others part, the divergence
over all compared tokens, and peak memory of a process that may write so many MB (the file's own
size subtracted, as `--device-profile` does; the emulator's memory counts as the process's).
Exit 1 when ARM64 differs by more than eight-bit weights may, or takes more memory than that.
Refused: what `tests/benchmarks/arm64_userland.py` refuses.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import CheckFailed, KindredError
from runtime.backends import Sampling
from runtime.device import parts
from runtime.penalties import Penalties
from tests.benchmarks.arm64_userland import ROOT, Userland, ready

EVERYDAY = ROOT / "tests/everyday_prompts.jsonl"
PROMPTS = 50
# What the export gate allows Q8_0 against F16.
WORST_DIVERGENCE, LEAST_AGREEMENT = 0.005, 0.97
Rows = NDArray[np.float32]


@dataclass(frozen=True)
class Parting:
    """Where two replies choose different tokens, and by how much one was preferred."""

    prompt: int
    place: int
    gap: float  # of this machine's logits, after penalties, between its choice and the other's


@dataclass(frozen=True)
class Difference:
    """`divergences` in nats, one for every token up to the first that differs."""

    prompts: int
    partings: list[Parting]
    divergences: NDArray[np.float64]

    @property
    def agreement(self) -> float:
        return 1 - len(self.partings) / len(self.divergences)

    @property
    def sound(self) -> bool:
        mean = self.divergences.mean()
        return bool(mean <= WORST_DIVERGENCE and self.agreement >= LEAST_AGREEMENT)


def compared(
    here: Mapping[str, Any], rows: Rows, there: Mapping[str, Any], other: Rows
) -> Difference:
    """Two machines' replies; raises CheckFailed where they do not even read the same tokens."""
    partings, divergences, mine, its = [], [], 0, 0
    pairs = zip(here["replies"], there["replies"], strict=True)
    for number, (one, two) in enumerate(pairs):
        if one["prompt"] != two["prompt"]:
            raise CheckFailed(f"prompt {number} becomes other tokens on ARM64: no fair comparison")
        places = zip(one["tokens"], two["tokens"], strict=False)
        for place, (token, wanted) in enumerate(places):
            divergences.append(divergence(rows[mine + place], other[its + place]))
            if token != wanted:
                logits = penalized(rows[mine + place], one["tokens"][:place], here["penalty"])
                partings.append(Parting(number, place, float(logits[token] - logits[wanted])))
                break
        mine, its = mine + len(one["tokens"]), its + len(two["tokens"])
    return Difference(len(here["replies"]), partings, np.array(divergences))


def divergence(logits_V: Rows, other_V: Rows) -> float:
    """KL divergence of two rows of logits, in nats."""
    one, two = (row.astype(np.float64) for row in (logits_V, other_V))
    one, two = (row - row.max() for row in (one, two))
    one, two = (row - np.log(np.exp(row).sum()) for row in (one, two))
    return float((np.exp(one) * (one - two)).sum())


def penalized(logits_V: Rows, reply: list[int], penalty: float) -> Rows:
    """Logits as the sampler sees them after these tokens."""
    penalties = Penalties(Sampling(repetition_penalty=penalty))
    for token in reply:
        penalties.remember(token)
    changed = logits_V.copy()
    penalties.apply(memoryview(changed))
    return changed


def replies(line: list[str | Path], file: Path, rows: Path, asked: str, **how: Any) -> Any:
    """What a process answered, and its logits `[tokens, V]`; its last words when it fails."""
    argv = [*line, "-m", "tests.benchmarks.arm64_replies", file.resolve(), rows]
    done = subprocess.run(argv, cwd=ROOT, input=asked, capture_output=True, text=True, **how)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise CheckFailed(f"{file} does not answer ({line[0]}, {done.returncode}): {said[-1]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return told, np.memmap(rows, np.float32, "r").reshape(-1, told["vocabulary"])


def prove(file: Path, tokens: int, memory_mb: int, userland: Userland) -> bool:
    texts = [json.loads(line)["text"] for line in EVERYDAY.read_text("utf-8").splitlines()]
    conversations = [[{"role": "user", "content": text}] for text in texts[:PROMPTS]]
    asked = json.dumps({"conversations": conversations, "tokens": tokens})
    limit = memory_mb * 2**20 - sum(part.stat().st_size for part in parts(file))
    held = partial(resource.setrlimit, resource.RLIMIT_DATA, (limit, limit))
    how = {"env": userland.environment, "preexec_fn": held}
    with tempfile.TemporaryDirectory() as near:
        here, rows = replies([sys.executable], file, Path(near) / "here", asked)
        there, other = replies(userland.python, file, Path(near) / "there", asked, **how)
        found = compared(here, rows, there, other)
    print(f"{file.name}: {there['machine']} says {there['text']!r}")
    show(found, here["machine"])
    mine, its = (told["peak_bytes"] / 2**20 for told in (here, there))
    print(f"  peak memory {its:.0f} MB, the emulator's included ({mine:.0f} MB here)")
    return found.sound and its <= memory_mb


def show(found: Difference, machine: str) -> None:
    equal = found.prompts - len(found.partings)
    print(f"  greedy replies: {equal} of {found.prompts} the same tokens as on {machine}")
    for each in found.partings:
        print(f"  prompt {each.prompt} parts at token {each.place}, a gap of {each.gap:.4f} logits")
    print(
        f"  over {len(found.divergences)} tokens: mean KLD {found.divergences.mean():.1e}, "
        f"largest {found.divergences.max():.1e}, top-1 {found.agreement:.2%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--memory-mb", type=int, default=512)
    parser.add_argument("--cache", type=Path, default=ROOT / "runs/arm64")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores")
    try:
        userland = ready(options.cache)
        sound = [prove(f, options.tokens, options.memory_mb, userland) for f in options.files]
    except KindredError as error:
        print(error, file=sys.stderr)
        raise SystemExit(error.exit_code) from None
    raise SystemExit(0 if all(sound) else 1)


if __name__ == "__main__":
    main()
