"""A matrix in blocks of 32 weights along its rows, as onnxruntime's MatMulNBits reads them.

In: a matrix, bits, the mean squares of its inputs where they are known. Out: `Blocks`: packed
integers, a float16 scale for each block, and for 4 bits a zero point. Refused: a matrix whose
scales float16 cannot hold (Unsupported).

Shapes: O outputs, I inputs, B blocks of a row, W weights of a block.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from distill.core.errors import Unsupported

BLOCK = 32
LEVELS = 15  # of four bits, above the lowest
SHRINKS = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.74, 0.68)
# With its scale, and for int4 its zero point, a weight takes so many bits.
INT4_BITS, INT8_BITS = 4 + (16 + 4) / BLOCK, 8 + 16 / BLOCK
LEAST_SCALE = 2.0**-24  # of float16
CHUNK_WEIGHTS = 1 << 20


@dataclass(frozen=True)
class Blocks:
    """Packed integers `[O, B, bytes]`, scales `[O, B]`, zero points `[O, B / 2]` or None."""

    bits: int
    values: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray | None


def blocks_of(matrix_OI: Any, bits: int, inputs_I: Any = None) -> Blocks:
    """Round a torch matrix to blocks, a few rows at a time."""
    parts = [packed(*rounded(rows, bits, inputs_I)) for rows in few_rows(matrix_OI)]
    columns = zip(*parts, strict=True)
    values, scales, zeros = (None if c[0] is None else np.concatenate(c) for c in columns)
    assert values is not None and scales is not None
    return Blocks(bits, values, scales, zeros)


def change_of(matrix_OI: Any, bits: int, inputs_I: Any = None) -> Any:
    """What the rounding changes, `[O, I]`."""
    import torch

    parts = []
    for rows_OI in few_rows(matrix_OI):
        values, scales, zeros = rounded(rows_OI, bits, inputs_I)
        middle = 1 << (bits - 1) if zeros is None else zeros
        restored = ((values - middle) * scales).flatten(1)[:, : rows_OI.shape[1]]
        parts.append(restored - rows_OI.float())
    return torch.cat(parts)


def few_rows(matrix_OI: Any) -> Any:
    return matrix_OI.split(max(1, CHUNK_WEIGHTS // matrix_OI.shape[1]))


def rounded(rows_OI: Any, bits: int, inputs_I: Any) -> tuple[Any, Any, Any]:
    """Integers `[O, B, W]`, scales and zero points `[O, B, 1]`, all as float32."""
    import torch

    pad = (0, -rows_OI.shape[1] % BLOCK)
    padded: Any = torch.nn.functional.pad(rows_OI.float(), pad)
    rows_OBW = padded.view(len(padded), -1, BLOCK)
    if bits == 8:
        widest = rows_OBW.abs().amax(2, keepdim=True)
        scales = as_half(widest / 127)
        return (rows_OBW / scales).round().clamp(-127, 127) + 128, scales, None
    weights = torch.ones(rows_OI.shape[1]) if inputs_I is None else torch.as_tensor(inputs_I)
    weights_BW = torch.nn.functional.pad(weights.float(), pad).view(-1, BLOCK)
    return nearest(rows_OBW, weights_BW)


def nearest(rows_OBW: Any, weights_BW: Any) -> tuple[Any, Any, Any]:
    """The range of each block, narrowed step by step, that leaves the least weighted error.

    For each range the scale is that of least squares, as llama.cpp chooses it.
    """
    import torch

    low = rows_OBW.amin(2, keepdim=True).clamp_max(0)
    high = rows_OBW.amax(2, keepdim=True).clamp_min(0)
    best: list[Any] = []
    for shrink in SHRINKS:
        scales = ((high - low) * (shrink / LEVELS)).clamp_min(LEAST_SCALE)
        zeros = (-low * shrink / scales).round().clamp(0, LEVELS)
        steps = (rows_OBW / scales + zeros).round().clamp(0, LEVELS) - zeros
        square = (weights_BW * steps * steps).sum(2, keepdim=True)
        product = (weights_BW * steps * rows_OBW).sum(2, keepdim=True)
        scales = as_half(torch.where(product > 0, product / square, scales))
        values = (rows_OBW / scales + zeros).round().clamp(0, LEVELS)
        lost = (values - zeros) * scales - rows_OBW
        found: list[Any] = [(weights_BW * lost * lost).sum(2, keepdim=True), values, scales, zeros]
        if best:
            better = found[0] < best[0]
            found = [torch.where(better, *pair) for pair in zip(found, best, strict=True)]
        best = found
    _, values, scales, zeros = best
    return values, scales, zeros


def as_half(scales: Any) -> Any:
    return scales.half().float().clamp_min(LEAST_SCALE)


def packed(values: Any, scales: Any, zeros: Any) -> tuple[Any, Any, Any]:
    """As bytes: two weights of 4 bits in each, the first in the low half."""
    if not scales.isfinite().all():
        raise Unsupported(
            "a matrix holds values that blocks of 32 with float16 scales cannot (beyond 65504 "
            "times their levels, or none at all); check the checkpoint, or train it again"
        )
    integers = values.numpy().astype(np.uint8)
    halves = scales.numpy()[:, :, 0].astype(np.float16)
    if zeros is None:
        return integers, halves, None
    points = zeros.numpy()[:, :, 0].astype(np.uint8)
    points = np.pad(points, ((0, 0), (0, points.shape[1] % 2)))
    return pairs(integers), halves, pairs(points)


def pairs(integers: np.ndarray) -> np.ndarray:
    joined: np.ndarray = integers[..., ::2] | integers[..., 1::2] << 4
    return joined
