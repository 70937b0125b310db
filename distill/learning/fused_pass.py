"""One pass over response rows, chunk by chunk: scores, and the gradients of their weighted sum.

In: a `Job` and the tensors that train. Out: scores of the rows; sums of gradients in fp32 (fp64
for fp64 states). At most two tiles of logits exist at a time, and both are spent: the student's
tile is scored, the other one holds delta and then the gradient.

Shapes: M rows, C rows of a chunk, R rows of a block, V vocabulary, D the student's width, E the
teacher's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.learning.divergence_rows import RowScores, Scoring, score_rows
from distill.learning.projection import (
    Head,
    add_head_gradient_,
    add_hidden_gradient_,
    narrowed,
    product_type,
    project_,
    subtract_projection_,
)

# What one step of the arithmetic touches: small enough to stay in the cache between its passes.
BLOCK_BYTES = {"cpu": 2**20, "cuda": 2**26}
RowScorer = Callable[[Scoring, Tensor, Tensor, Tensor | None, Tensor | None], RowScores]


class Wanted(NamedTuple):
    """Which gradients to form: a frozen head costs none."""

    hidden: bool
    head: bool
    bias: bool


@dataclass(frozen=True)
class Job:
    """All that a pass needs but what trains."""

    scoring: Scoring
    vocabulary: int
    teacher_hidden_ME: Tensor
    teacher_head: Head
    labels_M: Tensor | None
    weights_M: Tensor
    summed: bool
    wanted: Wanted
    chunk_bytes: int
    scorer: RowScorer

    def score(
        self,
        student_CV: Tensor,
        delta_CV: Tensor,
        rows: slice,
        weights_M: Tensor | None,
        scores: RowScores,
    ) -> None:
        """Score a chunk of the student's logits; the other tile becomes their gradient."""
        states_CE, tau = self.teacher_hidden_ME[rows], self.scoring.temperature
        subtract_projection_(self.teacher_head, states_CE, student_CV, delta_CV, tau)
        score_chunk(self, student_CV, delta_CV, rows, weights_M, scores)


class Gradients(NamedTuple):
    """Sums over rows; None where none is wanted."""

    hidden_MD: Tensor | None
    head_VD: Tensor | None
    bias_V: Tensor | None


def row_scorer(kernel: str) -> RowScorer:
    """The implementation of `score_rows` that was asked for."""
    if kernel == "torch":
        return score_rows
    from distill.learning import fused_triton

    return fused_triton.score_rows


def total_type(states: Tensor) -> torch.dtype:
    """The type of logits and sums."""
    return torch.float64 if states.dtype == torch.float64 else torch.float32


def slices(rows: int, at_most: int) -> Iterator[slice]:
    """Consecutive slices of nearly equal size."""
    number = -(-rows // max(1, at_most))
    size = -(-rows // max(1, number))
    for start in range(0, rows, max(1, size)):
        yield slice(start, min(start + size, rows))


def piece(values_M: Tensor | None, rows: slice) -> Tensor | None:
    return None if values_M is None else values_M[rows]


def pass_over_rows(
    job: Job,
    hidden_MD: Tensor,
    head_VD: Tensor,
    bias_V: Tensor | None,
    weights_M: Tensor | None,
) -> tuple[RowScores, Gradients]:
    """Scores of all rows; gradients of sum(weights * loss), none without weights."""
    with torch.no_grad(), torch.autocast(hidden_MD.device.type, enabled=False):
        student = Head(head_VD, bias_V, job.scoring.scale, job.scoring.softcap).cut(job.vocabulary)
        totals = fresh_totals(
            job.wanted if weights_M is not None else Wanted(False, False, False),
            hidden_MD,
            head_VD,
            bias_V,
        )
        scores = RowScores(*hidden_MD.new_empty(3, len(hidden_MD), dtype=total_type(hidden_MD)))
        row_bytes = 2 * job.vocabulary * total_type(hidden_MD).itemsize
        chunks = list(slices(len(hidden_MD), job.chunk_bytes // row_bytes))
        if not chunks:
            return scores, zeroed(totals)
        shape = (2, chunks[0].stop, job.vocabulary)
        tiles_2CV = hidden_MD.new_empty(shape, dtype=total_type(hidden_MD))
        for rows in chunks:
            student_CV, delta_CV = tiles_2CV[:, : rows.stop - rows.start]
            project_(student, hidden_MD[rows], student_CV, job.scoring.temperature)
            job.score(student_CV, delta_CV, rows, weights_M, scores)
            add_gradients(totals, student, hidden_MD, rows, delta_CV, student_CV)
    return scores, totals


def fresh_totals(
    wanted: Wanted, hidden_MD: Tensor, head_VD: Tensor, bias_V: Tensor | None
) -> Gradients:
    """Sums to be: those that the first chunk overwrites are left unset."""
    kind = total_type(hidden_MD)
    return Gradients(
        torch.zeros_like(hidden_MD, dtype=kind) if wanted.hidden else None,
        torch.empty_like(head_VD, dtype=kind) if wanted.head else None,
        torch.zeros_like(bias_V, dtype=kind) if wanted.bias and bias_V is not None else None,
    )


def zeroed(totals: Gradients) -> Gradients:
    if totals.head_VD is not None:
        totals.head_VD.zero_()
    return totals


def score_chunk(
    job: Job,
    student_CV: Tensor,
    delta_CV: Tensor,
    rows: slice,
    weights_M: Tensor | None,
    scores: RowScores,
) -> None:
    """Score a chunk; in torch block by block, so that a block stays in the cache."""
    at_once = len(student_CV)
    if job.scorer is score_rows:
        row_bytes = student_CV.shape[1] * student_CV.element_size()
        at_once = BLOCK_BYTES.get(student_CV.device.type, 2**26) // row_bytes
    for block in slices(len(student_CV), at_once):
        place = slice(rows.start + block.start, rows.start + block.stop)
        found = job.scorer(
            job.scoring,
            student_CV[block],
            delta_CV[block],
            piece(job.labels_M, place),
            piece(weights_M, place),
        )
        for kept_M, values_R in zip(scores, found, strict=True):
            kept_M[place] = values_R


def add_gradients(
    totals: Gradients,
    student: Head,
    hidden_MD: Tensor,
    rows: slice,
    gradient_CV: Tensor,
    spare_CV: Tensor,
) -> None:
    """Add a chunk's share to every sum that is wanted; spends both tiles."""
    if totals.bias_V is not None:
        totals.bias_V[: gradient_CV.shape[1]] += gradient_CV.sum(0)
    if totals.hidden_MD is None and totals.head_VD is None:
        return
    products_CV = narrowed(gradient_CV, spare_CV, product_type(hidden_MD, gradient_CV))
    if totals.hidden_MD is not None:
        add_hidden_gradient_(totals.hidden_MD[rows], products_CV, student)
    if totals.head_VD is not None:
        shared, fresh = gradient_CV.shape[1], rows.start == 0
        add_head_gradient_(totals.head_VD[:shared], products_CV, hidden_MD[rows], fresh=fresh)
        if fresh:
            totals.head_VD[shared:].zero_()


def scale_(gradients: Gradients, factor: Tensor) -> None:
    """Multiply by the loss's own gradient; on a CPU, where looking is free, only if it is not 1."""
    if factor.device.type == "cpu" and factor.item() == 1:
        return
    for gradient in gradients:
        if gradient is not None:
            gradient.mul_(factor)


class FusedDivergence(torch.autograd.Function):
    """The loss, then the scores of its rows, which have no gradient."""

    @staticmethod
    def forward(
        ctx: Any, hidden_MD: Tensor, head_VD: Tensor, bias_V: Tensor | None, job: Job
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(hidden_MD, head_VD, bias_V)
        weights_M = job.weights_M if job.summed and any(job.wanted) else None
        scores, gradients = pass_over_rows(job, hidden_MD, head_VD, bias_V, weights_M)
        ctx.job, ctx.gradients = job, gradients if job.summed else None
        ctx.types = [None if x is None else x.dtype for x in (hidden_MD, head_VD, bias_V)]
        ctx.mark_non_differentiable(*scores)
        scoring = job.scoring
        loss_M = scoring.divergence_weight * scores.divergence_R
        loss_M = (loss_M + scoring.cross_entropy_weight * scores.cross_entropy_R) * job.weights_M
        return (loss_M.sum() if job.summed else loss_M, *scores)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor | None, *_: Any) -> tuple[Tensor | None, ...]:
        if factor is None:
            return None, None, None, None
        gradients, ctx.gradients = ctx.gradients, None
        if gradients is not None:
            scale_(gradients, factor)
        else:
            weights_M = ctx.job.weights_M * factor
            hidden_MD, head_VD, bias_V = ctx.saved_tensors
            _, gradients = pass_over_rows(ctx.job, hidden_MD, head_VD, bias_V, weights_M)
        return (
            *(None if g is None else g.to(t) for g, t in zip(gradients, ctx.types, strict=True)),
            None,
        )
