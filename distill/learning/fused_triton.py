"""`divergence_rows.score_rows` as one Triton kernel, for GPUs: a program takes a row.

In, out and meaning as there; fp32 tiles only. The torch form passes over a block about twenty
times; this one reads it twice (three times for mixtures) and writes once. Importable without
Triton or a GPU; asked for with `kernel="triton"`. Refused: where it cannot run (Unsupported).

Shapes: R rows of the block, V vocabulary.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import torch
from torch import Tensor

from distill.core.errors import Unsupported
from distill.learning.divergence_rows import HIGHEST_RATIO, Kind, RowScores, Scoring

HAS_TRITON = importlib.util.find_spec("triton") is not None
if HAS_TRITON:
    import triton
    import triton.language as tl


def jit(kernel: Any) -> Any:
    """Compiled at its first launch; as it is where there is no Triton."""
    return triton.jit(kernel) if HAS_TRITON else kernel


COLUMNS = 4096
CODES: dict[Kind, int] = {
    "reverse-kl": 0,
    "forward-kl": 1,
    "jsd": 2,
    "skewed-forward-kl": 3,
    "skewed-reverse-kl": 4,
}


def score_rows(
    scoring: Scoring,
    student_RV: Tensor,
    delta_RV: Tensor,
    labels_R: Tensor | None,
    weights_R: Tensor | None,
) -> RowScores:
    """See `divergence_rows.score_rows`."""
    refuse_device(student_RV)
    rows, vocabulary = student_RV.shape
    scores = RowScores(*student_RV.new_zeros(3, rows))
    rows_kernel[(rows,)](
        student_RV,
        delta_RV,
        student_RV.stride(0),
        delta_RV.stride(0),
        student_RV if labels_R is None else labels_R,
        student_RV if weights_R is None else weights_R.contiguous(),
        *scores,
        vocabulary,
        scoring.divergence.share,
        scoring.temperature,
        scoring.divergence_weight / scoring.temperature,
        scoring.cross_entropy_weight,
        scoring.softcap or 1.0,
        scoring.scale,
        CODES[scoring.divergence.kind],
        labels_R is not None,
        weights_R is not None,
        scoring.softcap is not None,
        HIGHEST_RATIO,
        min(COLUMNS, triton.next_power_of_2(vocabulary)),
        num_warps=8,
    )
    return scores


def refuse_device(logits: Tensor) -> None:
    """Unsupported without Triton, without a GPU, or for fp64 states."""
    if not HAS_TRITON or not (logits.is_cuda or triton.knobs.runtime.interpret):
        raise Unsupported('kernel="triton" needs Triton and a GPU; leave the option out')
    if logits.dtype != torch.float32:
        raise Unsupported('kernel="triton" does not take fp64 states; leave the option out')


@jit
def log_ratio(u: Any, share: Any, highest: tl.constexpr) -> Any:
    """log(m / q) for m = share p + (1 - share) q."""
    return tl.log(1.0 + share * (tl.exp(tl.minimum(u, highest)) - 1.0))


@jit
def folded(highest: Any, total: Any, logits: Any) -> Any:
    """A running maximum and sum of exponentials, with one more block."""
    higher = tl.maximum(highest, tl.max(logits, axis=0))
    return higher, total * tl.exp(highest - higher) + tl.sum(tl.exp(logits - higher), axis=0)


@jit
def normalizers(student: Any, delta: Any, columns: tl.constexpr, size: Any, factor: Any) -> Any:
    """Log-normalizers of a row under student and teacher, logits times `factor`."""
    high_q, sum_q, high_p, sum_p = -float("inf"), 0.0, -float("inf"), 0.0
    for start in range(0, size, columns):
        place = start + tl.arange(0, columns)
        z = tl.load(student + place, mask=place < size, other=-float("inf"))
        d = tl.load(delta + place, mask=place < size, other=0.0)
        high_q, sum_q = folded(high_q, sum_q, z * factor)
        high_p, sum_p = folded(high_p, sum_p, (z - d) * factor)
    return high_q + tl.log(sum_q), high_p + tl.log(sum_p)


@jit
def expectations(
    student: Any,
    delta: Any,
    columns: tl.constexpr,
    size: Any,
    log_q: Any,
    log_p: Any,
    share: Any,
    kind: tl.constexpr,
    highest: tl.constexpr,
) -> Any:
    """The row's value and the mean that its gradient subtracts."""
    value, mean = 0.0, 0.0
    for start in range(0, size, columns):
        place = start + tl.arange(0, columns)
        z = tl.load(student + place, mask=place < size, other=-float("inf"))
        u = log_q - log_p - tl.load(delta + place, mask=place < size, other=0.0)
        q = tl.exp(z - log_q)
        p = tl.exp(z - log_q + u)
        if kind == 0:
            value -= tl.sum(q * u, axis=0)
        elif kind == 1:
            value += tl.sum(p * u, axis=0)
        elif kind == 2:
            ratio = log_ratio(u, share, highest)
            mean -= tl.sum(q * ratio, axis=0)
            value += tl.sum(share * p * (u - ratio) - (1.0 - share) * q * ratio, axis=0)
        elif kind == 3:
            ratio = log_ratio(u, share, highest)
            value += tl.sum(p * (u - ratio), axis=0)
            mean += tl.sum((share - 1.0) * p * tl.exp(-ratio), axis=0)
        else:
            ratio = log_ratio(u, 1.0 - share, highest)
            value -= tl.sum(q * ratio, axis=0)
            mean -= tl.sum(q * (ratio + share * tl.exp(-ratio)), axis=0)
    return value, mean


@jit
def gradient(
    z: Any,
    u: Any,
    log_q: Any,
    value: Any,
    mean: Any,
    share: Any,
    kind: tl.constexpr,
    highest: tl.constexpr,
) -> Any:
    """q (f - E_q[f]) of a block, as in `divergence_rows`."""
    q = tl.exp(z - log_q)
    if kind == 0:
        result = -q * (u + value)
    elif kind == 1:
        result = q - tl.exp(z - log_q + u)
    elif kind == 2:
        result = (share - 1.0) * q * (log_ratio(u, share, highest) + mean)
    elif kind == 3:
        ratio = log_ratio(u, share, highest)
        result = (share - 1.0) * tl.exp(z - log_q + u - ratio) - q * mean
    else:
        ratio = log_ratio(u, 1.0 - share, highest)
        result = -q * (ratio + share * tl.exp(-ratio) + mean)
    return result


@jit
def rows_kernel(
    student_ptr: Any,
    delta_ptr: Any,
    student_stride: Any,
    delta_stride: Any,
    labels_ptr: Any,
    weights_ptr: Any,
    divergence_ptr: Any,
    cross_entropy_ptr: Any,
    teacher_ptr: Any,
    size: Any,
    share: Any,
    temperature: Any,
    divergence_weight: Any,
    cross_entropy_weight: Any,
    softcap: Any,
    scale: Any,
    kind: tl.constexpr,
    has_labels: tl.constexpr,
    has_weights: tl.constexpr,
    has_softcap: tl.constexpr,
    highest: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    row = tl.program_id(0).to(tl.int64)
    student, delta = student_ptr + row * student_stride, delta_ptr + row * delta_stride
    log_q, log_p = normalizers(student, delta, columns, size, 1.0)
    value, mean = expectations(student, delta, columns, size, log_q, log_p, share, kind, highest)
    tl.store(divergence_ptr + row, value)
    label, plain_q = -1, log_q
    if has_labels:
        label = tl.load(labels_ptr + row)
        plain_q, plain_p = normalizers(student, delta, columns, size, temperature)
        z_label = tl.load(student + label)
        t_label = z_label - tl.load(delta + label)
        tl.store(cross_entropy_ptr + row, plain_q - z_label * temperature)
        tl.store(teacher_ptr + row, plain_p - t_label * temperature)
    if has_weights:
        weight = tl.load(weights_ptr + row)
        for start in range(0, size, columns):
            place = start + tl.arange(0, columns)
            inside = place < size
            z = tl.load(student + place, mask=inside, other=-float("inf"))
            u = log_q - log_p - tl.load(delta + place, mask=inside, other=0.0)
            slope = divergence_weight * gradient(z, u, log_q, value, mean, share, kind, highest)
            if has_labels:
                excess = tl.exp(z * temperature - plain_q) - tl.where(place == label, 1.0, 0.0)
                slope += cross_entropy_weight * excess
            if has_softcap:
                capped = z * (temperature / softcap)
                slope *= 1.0 - capped * capped
            tl.store(delta + place, slope * weight * scale, mask=inside)
