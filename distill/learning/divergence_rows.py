"""One block of vocabulary rows: its divergences, and their gradient written over its input.

In: a student's logits and delta = student minus teacher, both divided by the temperature. Out: one
value a row; delta becomes the gradient with respect to the student's projection. This is the seam
of `fused`: another implementation (`fused_triton`) replaces `score_rows` behind the same tests.

Delta is kept rather than the teacher's logits because the loss lives in the difference: two
rounded logits lose it as the student nears the teacher. With u = log p - log q, every divergence
here has the gradient q (f - E_q[f]) for some f(u), and delta gives u but for a constant.

Shapes: R rows of the block, V vocabulary, K the two roles.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from distill.learning.losses import refuse_share

Kind = Literal["forward-kl", "reverse-kl", "jsd", "skewed-forward-kl", "skewed-reverse-kl"]
SHARE_NAMES: dict[Kind, str] = {
    "jsd": "beta",
    "skewed-forward-kl": "alpha",
    "skewed-reverse-kl": "alpha",
}
# exp(80) is finite in fp32; where p > q exp(80), q is nothing and the gradient with it.
HIGHEST_RATIO = 80.0


@dataclass(frozen=True)
class Divergence:
    """Which divergence of `losses`, and the share in its mixture where it has one."""

    kind: Kind = "reverse-kl"
    share: float = 0.0

    def __post_init__(self) -> None:
        if self.kind in SHARE_NAMES:
            refuse_share(SHARE_NAMES[self.kind], self.share)


@dataclass(frozen=True)
class Scoring:
    """What a row is scored by; `softcap` and `scale` are the student's, for the way back."""

    divergence: Divergence
    temperature: float
    divergence_weight: float
    cross_entropy_weight: float
    softcap: float | None
    scale: float


class RowScores(NamedTuple):
    """Values of rows, in nats; both cross-entropies are at temperature 1, zero without labels."""

    divergence_R: Tensor
    cross_entropy_R: Tensor
    teacher_cross_entropy_R: Tensor


class Blocks(NamedTuple):
    """Probabilities of a block: q, p and u = log p - log q; `u_RV` lies where delta lay."""

    q_RV: Tensor
    p_RV: Tensor
    u_RV: Tensor


def softmax_(logits_RV: Tensor) -> Tensor:
    """Overwrite logits with probabilities; returns their log-normalizers [R].

    Four plain passes: `torch.logsumexp` reads memory far slower than they do on a CPU.
    """
    highest_R = logits_RV.amax(-1)
    logits_RV.sub_(highest_R[:, None]).exp_()
    total_R = logits_RV.sum(-1)
    logits_RV.mul_(total_R.reciprocal()[:, None])
    return highest_R + total_R.log()


def expectation(weights_RV: Tensor, values_RV: Tensor) -> Tensor:
    """Row by row sum of products, without their product in memory."""
    products_R: Tensor = torch.linalg.vecdot(weights_RV, values_RV)
    return products_R


def log_ratio(u_RV: Tensor, share: float) -> Tensor:
    """log(m / q) for m = share p + (1 - share) q, exact where p and q are close."""
    return u_RV.clamp(max=HIGHEST_RATIO).expm1_().mul_(share).log1p_()


def reverse_kl_(rows: Blocks, _: float) -> Tensor:
    """f = -u."""
    value_R = -expectation(rows.q_RV, rows.u_RV)
    rows.u_RV.add_(value_R[:, None]).mul_(rows.q_RV).neg_()
    return value_R


def forward_kl_(rows: Blocks, _: float) -> Tensor:
    """f = -exp(u), whose gradient is q - p."""
    value_R = expectation(rows.p_RV, rows.u_RV)
    torch.sub(rows.q_RV, rows.p_RV, out=rows.u_RV)
    return value_R


def jsd_(rows: Blocks, beta: float) -> Tensor:
    """f = -(1 - beta) log(m / q)."""
    log_ratio_RV = log_ratio(rows.u_RV, beta)
    student_R = -expectation(rows.q_RV, log_ratio_RV)
    teacher_R = expectation(rows.p_RV, rows.u_RV.sub_(log_ratio_RV))
    log_ratio_RV.add_(student_R[:, None])
    torch.mul(rows.q_RV, log_ratio_RV, out=rows.u_RV).mul_(beta - 1)
    return beta * teacher_R + (1 - beta) * student_R


def skewed_forward_kl_(rows: Blocks, alpha: float) -> Tensor:
    """f = -(1 - alpha) p / m, so that q f = -(1 - alpha) p exp(-log(m / q))."""
    log_ratio_RV = log_ratio(rows.u_RV, alpha)
    value_R = expectation(rows.p_RV, rows.u_RV.sub_(log_ratio_RV))
    torch.mul(log_ratio_RV.neg_().exp_(), rows.p_RV, out=rows.u_RV).mul_(alpha - 1)
    mean_R = rows.u_RV.sum(-1)
    rows.u_RV.addcmul_(rows.q_RV, mean_R[:, None], value=-1)
    return value_R


def skewed_reverse_kl_(rows: Blocks, alpha: float) -> Tensor:
    """f = log(q / m) - alpha q / m."""
    log_q_over_m_RV = log_ratio(rows.u_RV, 1 - alpha).neg_()
    value_R = expectation(rows.q_RV, log_q_over_m_RV)
    f_RV = torch.exp(log_q_over_m_RV).mul_(-alpha).add_(log_q_over_m_RV)
    f_RV.sub_(expectation(rows.q_RV, f_RV)[:, None])
    torch.mul(rows.q_RV, f_RV, out=rows.u_RV)
    return value_R


GRADIENTS: dict[Kind, Callable[[Blocks, float], Tensor]] = {
    "forward-kl": forward_kl_,
    "reverse-kl": reverse_kl_,
    "jsd": jsd_,
    "skewed-forward-kl": skewed_forward_kl_,
    "skewed-reverse-kl": skewed_reverse_kl_,
}


def score_rows(
    scoring: Scoring,
    student_RV: Tensor,
    delta_RV: Tensor,
    labels_R: Tensor | None,
    weights_R: Tensor | None,
) -> RowScores:
    """Values of a block; with `weights_R`, delta becomes the gradient of their weighted sum.

    The gradient is that with respect to the student's projection (hidden times head plus bias),
    so temperature, soft cap and logit scale are undone here. Without weights delta is spent.
    """
    picked_RK = None if labels_R is None else labelled(student_RV, delta_RV, labels_R)
    q_RV, p_RV = student_RV.clone(), torch.sub(student_RV, delta_RV)
    normalizers_RK = plain_normalizers(scoring, q_RV, p_RV) if picked_RK is not None else None
    log_q_R, log_p_R = softmax_(q_RV), softmax_(p_RV)
    if picked_RK is None:
        cross_entropy_RK = q_RV.new_zeros(q_RV.shape[0], 2)
    elif normalizers_RK is None:
        cross_entropy_RK = torch.stack([log_q_R, log_p_R], -1) - picked_RK
    else:
        cross_entropy_RK = normalizers_RK - picked_RK * scoring.temperature
    torch.sub((log_q_R - log_p_R)[:, None], delta_RV, out=delta_RV)
    divergence = scoring.divergence
    value_R = GRADIENTS[divergence.kind](Blocks(q_RV, p_RV, delta_RV), divergence.share)
    if weights_R is not None:
        delta_RV.mul_((weights_R * (scoring.divergence_weight / scoring.temperature))[:, None])
        if labels_R is not None and scoring.cross_entropy_weight:
            add_cross_entropy_(scoring, student_RV, q_RV, delta_RV, labels_R, weights_R)
        undo_transform_(scoring, student_RV, delta_RV)
    return RowScores(value_R, cross_entropy_RK[:, 0], cross_entropy_RK[:, 1])


def labelled(student_RV: Tensor, delta_RV: Tensor, labels_R: Tensor) -> Tensor:
    """The label's logit under student and teacher [R, 2]."""
    student_R1 = student_RV.gather(-1, labels_R[:, None])
    return torch.cat([student_R1, student_R1 - delta_RV.gather(-1, labels_R[:, None])], -1)


def plain_normalizers(scoring: Scoring, student_RV: Tensor, teacher_RV: Tensor) -> Tensor | None:
    """Log-normalizers at temperature 1 [R, 2]; None when the others are just these."""
    if scoring.temperature == 1:
        return None
    both = (student_RV * scoring.temperature, teacher_RV * scoring.temperature)
    return torch.stack([softmax_(logits_RV) for logits_RV in both], -1)


def add_cross_entropy_(
    scoring: Scoring,
    student_RV: Tensor,
    q_RV: Tensor,
    gradient_RV: Tensor,
    labels_R: Tensor,
    weights_R: Tensor,
) -> None:
    """gradient += weight (q at temperature 1 - one-hot of the label); spends `q_RV`."""
    weight_R = weights_R * scoring.cross_entropy_weight
    if scoring.temperature != 1:
        torch.mul(student_RV, scoring.temperature, out=q_RV)
        softmax_(q_RV)
    gradient_RV.addcmul_(q_RV, weight_R[:, None])
    gradient_RV.scatter_add_(-1, labels_R[:, None], -weight_R[:, None])


def undo_transform_(scoring: Scoring, student_RV: Tensor, gradient_RV: Tensor) -> None:
    """Chain rule through z = cap tanh(scale y / cap)."""
    if scoring.softcap is not None:
        share_RV = student_RV * (scoring.temperature / scoring.softcap)
        gradient_RV.addcmul_(gradient_RV, share_RV.square_(), value=-1)
    if scoring.scale != 1:
        gradient_RV.mul_(scoring.scale)
