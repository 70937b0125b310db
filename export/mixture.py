"""Which type each matrix gets, so that a file of so many bytes diverges least.

In: an F16 file, what each weight matters, a type, types that a person chose. Out: a plan. The
divergence of each matrix in each type is foretold from the weights that llama.cpp really writes;
the choice minimizes their sum within the bytes that llama.cpp's own mix would take (or fewer,
where that mix is far above its name), by a Lagrange multiplier.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import gguf
import numpy as np

from distill.core.progress import track
from export.importance import Importance
from export.quantize import Plan, matrices_of, quantize, read_back
from export.types import WIDE_BLOCK, bits_per_weight, type_named

# Blocks of 256 weights, and of 32 for other rows; one-step neighbours of what a type names.
WIDE = ("IQ2_S", "IQ3_XXS", "Q3_K", "IQ4_XS", "Q4_K", "Q5_K", "Q6_K", "Q8_0")
NARROW = ("IQ4_NL", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
BELOW, ABOVE = 1.3, 4.1
# A name promises its bits: all of the file may take so many more, metadata included, and where
# rows are odd the weights may.
MORE_BITS, MORE_BITS_WHEN_ODD = 0.7, 1.0
CHUNK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Price:
    """What one matrix costs in one type."""

    divergence: float
    size_bytes: int


Prices = dict[str, dict[str, Price]]


def steps(block: str, columns: int) -> list[str]:
    """Types that a matrix of so many columns may take in a mix around `block`."""
    if columns % WIDE_BLOCK:
        return [] if columns % 32 else [*NARROW]
    near = bits_per_weight(block)
    return [k for k in WIDE if near - BELOW <= bits_per_weight(k) <= near + ABOVE]


def mixed(
    plain: Path, scratch: Path, asked: Plan, importance: Importance, known: Prices | None = None
) -> Plan:
    """The plan for a type within its bytes; `scratch` is a file to write trials to.

    `known` keeps prices for the next type: they do not depend on the type that asks.
    """
    name, chosen = asked.type, asked.tensors
    known = {} if known is None else known
    quantize(plain, scratch, asked)
    free = {n: shape for n, shape in matrices_of(plain).items() if n not in chosen}
    taken = {t.name: int(t.n_bytes) for t in gguf.GGUFReader(scratch).tensors}
    limit = budget(scratch, name, free, chosen, taken)
    trials = {n: steps(type_named(name).block, columns) for n, (_, columns) in free.items()}
    blocks = sorted({kind for kinds in trials.values() for kind in kinds}, key=bits_per_weight)
    for block in track(blocks, "sensitivity", len(blocks)):
        trial = {n: block for n, kinds in trials.items() if block in kinds}
        trial = {n: block for n in trial if block not in known.get(n, {})}
        if trial:
            quantize(plain, scratch, replace(asked, tensors=trial))
            for tensor, price in priced(plain, scratch, importance, trial):
                known.setdefault(tensor, {})[block] = price
    # What llama.cpp leaves as it is, whatever it is asked for, has no price.
    prices = {
        n: {kind: known[n][kind] for kind in kinds if kind in known[n]}
        for n, kinds in trials.items()
        if n in known
    }
    best = allocated(prices, limit - sum(taken[n] for n in free if n not in prices))
    odd = sum(columns % WIDE_BLOCK > 0 for _, columns in free.values())
    reason = f"{asked.reason}; each matrix has the type that loses least in {limit / 1e6:.1f} MB"
    if odd:
        reason += f", {odd} of {len(free)} in blocks of 32, because 256 do not divide their rows"
    return replace(asked, reason=reason, tensors=dict(chosen) | best)


def budget(
    written: Path,
    name: str,
    free: Mapping[str, tuple[int, int]],
    chosen: Mapping[str, str],
    sizes: Mapping[str, int],
) -> int:
    """Bytes for the free matrices: those of llama.cpp's own mix, or fewer where it exceeds.

    `sizes` are the bytes of every tensor in `written`.
    """
    found = read_back(written, name, chosen)
    taken = sum(sizes[tensor] for tensor in free)
    odd = any(columns % WIDE_BLOCK for _, columns in free.values())
    whole = sum(sizes.values()) if odd else written.stat().st_size
    more = MORE_BITS_WHEN_ODD if odd else MORE_BITS
    allowed = (found.nominal_bits_per_weight + more) * found.parameters / 8
    return min(taken, int(allowed) - (whole - taken))


def priced(
    plain: Path, trial: Path, importance: Importance, tensors: Mapping[str, str]
) -> list[tuple[str, Price]]:
    """The divergence that the trial's version of each tensor should cause, and its bytes."""
    before = {t.name: t for t in gguf.GGUFReader(plain).tensors}
    found = []
    for tensor in gguf.GGUFReader(trial).tensors:
        if tensor.name in tensors and tensor.tensor_type.name == tensors[tensor.name]:
            rows = max(1, CHUNK_BYTES // (4 * int(tensor.shape[0])))
            total = 0.0
            for first in range(0, len(tensor.data), rows):
                now, then = (
                    gguf.dequantize(t.data[first : first + rows], t.tensor_type)
                    for t in (tensor, before[tensor.name])
                )
                total += importance.divergence(tensor.name, now - then, first)
            found.append((tensor.name, Price(total, int(tensor.n_bytes))))
    return found


def allocated(prices: Prices, limit: int) -> dict[str, str]:
    """The type of each matrix: least divergence within `limit` bytes, or the fewest bytes."""

    def at(weight: float) -> dict[str, str]:
        return {
            tensor: min(kinds, key=lambda k: kinds[k].divergence + weight * kinds[k].size_bytes)
            for tensor, kinds in prices.items()
        }

    def size(choice: Mapping[str, str]) -> int:
        return sum(prices[tensor][kind].size_bytes for tensor, kind in choice.items())

    low, high = np.log(1e-24), np.log(1e6)
    for _ in range(64):
        middle = (low + high) / 2
        low, high = (low, middle) if size(at(np.exp(middle))) <= limit else (middle, high)
    return improved(prices, at(np.exp(high)), limit)


def improved(prices: Prices, choice: dict[str, str], limit: int) -> dict[str, str]:
    """Spend what the multiplier left over: single steps up, the best per byte first."""
    left = limit - sum(prices[t][k].size_bytes for t, k in choice.items())
    steps_up = []
    for tensor, kind in choice.items():
        now = prices[tensor][kind]
        for other, price in prices[tensor].items():
            more, gain = price.size_bytes - now.size_bytes, now.divergence - price.divergence
            if more > 0 and gain > 0:
                steps_up.append((gain / more, tensor, other, more))
    done: set[str] = set()
    for _, tensor, other, more in sorted(steps_up, reverse=True):
        if tensor not in done and more <= left:
            choice[tensor], left = other, left - more
            done.add(tensor)
    return choice
