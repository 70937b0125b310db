"""The arithmetic of a reverse KL over kept tokens and one bucket, as a pass of `fused_pass`.

In: a block of the student's logits, and a source of the teacher's log-probabilities. Out: values,
the student's mass in the bucket, the gradient. Nothing is refused here: see
`teacher_cache_sparse`.

Over kept tokens S and a bucket t for all others, with u_i = log p_i - log q_i,

    value = - sum_S q_i u_i - q_t u_t            gradient_i = -q_i (u_i + value),  u_i = u_t off S

which is KL(q || p) - q_t KL(q(.|t) || p(.|t)) by the chain rule of relative entropy: a lower
bound, short by the student's mass in the bucket times what it does there.

Shapes: M rows with a label, C rows of a chunk, R rows of a block, K kept tokens, V vocabulary.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from distill.learning.divergence_rows import (
    Blocks,
    RowScores,
    add_cross_entropy_,
    reverse_kl_,
    softmax_,
    undo_transform_,
)
from distill.learning.fused_pass import BLOCK_BYTES, Job, piece, slices

SMALLEST = torch.finfo(torch.float32).eps


class Support(NamedTuple):
    """Kept tokens, log p of each (-inf fills up a row), log p of the bucket."""

    ids_RK: Tensor
    log_p_RK: Tensor
    log_tail_R: Tensor


class Source(Protocol):
    """What a pass asks of a stored teacher, about rows by their place."""

    def support(self, rows: slice, student_RV: Tensor) -> Support:
        """Which tokens are kept for these rows."""

    def log_p(self, rows: slice, ids_RK: Tensor) -> Tensor:
        """Log-probabilities of some tokens [R, K]."""

    def log_p_of_all(self, places_R: Tensor) -> Tensor:
        """Log-probabilities of the whole vocabulary [R, V]."""


@dataclass(frozen=True)
class BucketJob(Job):
    """A pass over blocks; a row with more than `tail_at_most` in its bucket is scored densely."""

    source: Source
    tail_at_most: float
    tail_M: Tensor
    dense_M: Tensor

    def score(
        self,
        student_CV: Tensor,
        delta_CV: Tensor,
        rows: slice,
        weights_M: Tensor | None,
        scores: RowScores,
    ) -> None:
        """Block by block; the second tile becomes the gradient of the student's projection."""
        row_bytes = student_CV.shape[1] * student_CV.element_size()
        at_once = BLOCK_BYTES.get(student_CV.device.type, 2**26) // row_bytes
        for block in slices(len(student_CV), at_once):
            place = slice(rows.start + block.start, rows.start + block.stop)
            weights_R = piece(weights_M, place)
            found = self.score_block(student_CV[block], delta_CV[block], place, weights_R)
            for kept_M, values_R in zip(scores, found, strict=True):
                kept_M[place] = values_R

    def score_block(
        self, student_RV: Tensor, gradient_RV: Tensor, rows: slice, weights_R: Tensor | None
    ) -> RowScores:
        q_RV = student_RV.clone()
        normalizer_R = softmax_(q_RV)
        support = self.source.support(rows, student_RV)
        value_R, tail_R = bucketed_(support, student_RV, q_RV, normalizer_R, gradient_RV)
        self.tail_M[rows], self.dense_M[rows] = tail_R, tail_R > self.tail_at_most
        if len(at_R := self.dense_M[rows].nonzero()[:, 0]):
            u_RV = self.source.log_p_of_all(at_R + rows.start)
            u_RV.sub_(student_RV[at_R]).add_(normalizer_R[at_R, None])
            q_dense_RV = q_RV[at_R]
            value_R[at_R] = reverse_kl_(Blocks(q_dense_RV, q_dense_RV, u_RV), 0.0)
            gradient_RV[at_R] = u_RV
        labels_R = piece(self.labels_M, rows)
        crosses_R2 = value_R.new_zeros(len(value_R), 2)
        if labels_R is not None:
            label_R1 = labels_R[:, None]
            crosses_R2[:, 0] = normalizer_R - student_RV.gather(-1, label_R1)[:, 0]
            crosses_R2[:, 1] = -self.source.log_p(rows, label_R1)[:, 0]
        if weights_R is not None:
            gradient_RV.mul_((weights_R * self.scoring.divergence_weight)[:, None])
            if labels_R is not None and self.scoring.cross_entropy_weight:
                add_cross_entropy_(self.scoring, student_RV, q_RV, gradient_RV, labels_R, weights_R)
            undo_transform_(self.scoring, student_RV, gradient_RV)
        return RowScores(value_R, crosses_R2[:, 0], crosses_R2[:, 1])


def bucketed_(
    support: Support,
    student_RV: Tensor,
    q_RV: Tensor,
    normalizer_R: Tensor,
    gradient_RV: Tensor,
) -> tuple[Tensor, Tensor]:
    """Values and the student's tail [R]; the gradient of their sum is written to `gradient_RV`."""
    ids_RK, log_p_RK, log_tail_R = support
    kept_RK = log_p_RK > -torch.inf
    q_RK = torch.where(kept_RK, q_RV.gather(-1, ids_RK), 0.0)
    u_RK = log_p_RK - student_RV.gather(-1, ids_RK) + normalizer_R[:, None]
    u_RK = torch.where(kept_RK, u_RK, 0.0)
    tail_R = (1 - q_RK.sum(-1)).clamp(min=SMALLEST)
    u_tail_R = log_tail_R - tail_R.log()
    value_R = -torch.linalg.vecdot(q_RK, u_RK) - tail_R * u_tail_R
    torch.mul(q_RV, -(u_tail_R + value_R)[:, None], out=gradient_RV)
    gradient_RV.scatter_add_(-1, ids_RK, q_RK * (u_tail_R[:, None] - u_RK))
    return value_R, tail_R
