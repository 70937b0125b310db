"""What a student is taught to minimize, as the papers write it: slow, obvious, on full logits.

In: logits of the same tokens under student and teacher. Out: one value a row, in nats; gradients
by autograd. Training uses `fused`, which never holds the logits; its tests compare with these.
Refused: heads of different tokenizers (BadInput).

A divergence compares token i of one role with token i of the other, so both must read with the
same tokenizer. Heads of one family may be padded to different sizes; they are then cut to the
rows that both have, since a row padded with zeros would claim probability. A teacher with another
tokenizer is refused: its words can still be learnt, by training on its responses
(`distill teach responses`, then SFT), which needs no probabilities.

Shapes: N rows (response tokens), V vocabulary.
Symbols: p = teacher, q = student, both softmax(logits / temperature). Values at a temperature are
plain divergences; to keep gradients of one size over temperatures, multiply by temperature^2
(Hinton et al. 2015, arXiv 1503.02531).
"""

import math

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.masks import IGNORED

# Heads are padded to multiples of at most this many rows; more apart is another tokenizer.
PADDING_AT_MOST = 1024


def common_vocabulary(student_rows: int, teacher_rows: int) -> int:
    """Rows that both heads have; BadInput when padding cannot explain the difference."""
    if abs(student_rows - teacher_rows) >= PADDING_AT_MOST:
        raise BadInput(
            f"the student's head has {student_rows} rows and the teacher's {teacher_rows}, which "
            "padding does not explain: they read with different tokenizers, so their "
            "probabilities cannot be compared; take a teacher of the student's family, or train "
            "on the teacher's responses (distill teach responses, then distill train)"
        )
    return min(student_rows, teacher_rows)


def refuse_share(name: str, share: float) -> None:
    """BadInput unless a mixing share lies strictly between 0 and 1."""
    if not 0 < share < 1:
        raise BadInput(
            f"{name} is {share}; give a share between 0 and 1, both excluded: at the ends use "
            "the forward or the reverse KL, which are the limits after scaling"
        )


def log_probabilities(
    student_NV: Tensor, teacher_NV: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """log q and log p over the tokens that both have."""
    common = common_vocabulary(student_NV.shape[-1], teacher_NV.shape[-1])
    log_q_NV = torch.log_softmax(student_NV[..., :common] / temperature, -1)
    log_p_NV = torch.log_softmax(teacher_NV[..., :common].detach() / temperature, -1)
    return log_q_NV, log_p_NV


def kl(log_a_NV: Tensor, log_b_NV: Tensor) -> Tensor:
    """KL(a || b) = sum_i a_i (log a_i - log b_i)."""
    return (log_a_NV.exp() * (log_a_NV - log_b_NV)).sum(-1)


def mixture(log_a_NV: Tensor, log_b_NV: Tensor, share: float) -> Tensor:
    """log(share a + (1 - share) b)."""
    return torch.logaddexp(log_a_NV + math.log(share), log_b_NV + math.log1p(-share))


def forward_kl(student_NV: Tensor, teacher_NV: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(p || q), which asks the student to cover the teacher.

    Source: arXiv 1503.02531 (as cross-entropy with soft targets).
    """
    log_q_NV, log_p_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return kl(log_p_NV, log_q_NV)


def reverse_kl(student_NV: Tensor, teacher_NV: Tensor, temperature: float = 1.0) -> Tensor:
    """KL(q || p), which asks the student to stay within the teacher.

    Source: arXiv 2306.08543, for each token.
    """
    log_q_NV, log_p_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return kl(log_q_NV, log_p_NV)


def generalized_jsd(
    student_NV: Tensor, teacher_NV: Tensor, beta: float = 0.5, temperature: float = 1.0
) -> Tensor:
    """beta KL(p || m) + (1 - beta) KL(q || m), with m = beta p + (1 - beta) q.

    Near beta = 0 it is beta KL(p || q), near beta = 1 it is (1 - beta) KL(q || p).
    Source: arXiv 2306.13649.
    """
    refuse_share("beta", beta)
    log_q_NV, log_p_NV = log_probabilities(student_NV, teacher_NV, temperature)
    log_m_NV = mixture(log_p_NV, log_q_NV, beta)
    return beta * kl(log_p_NV, log_m_NV) + (1 - beta) * kl(log_q_NV, log_m_NV)


def skewed_forward_kl(
    student_NV: Tensor, teacher_NV: Tensor, alpha: float = 0.1, temperature: float = 1.0
) -> Tensor:
    """KL(p || alpha p + (1 - alpha) q), bounded by -log(alpha).

    Source: arXiv 2402.03898 (skew KL).
    """
    refuse_share("alpha", alpha)
    log_q_NV, log_p_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return kl(log_p_NV, mixture(log_p_NV, log_q_NV, alpha))


def skewed_reverse_kl(
    student_NV: Tensor, teacher_NV: Tensor, alpha: float = 0.1, temperature: float = 1.0
) -> Tensor:
    """KL(q || alpha q + (1 - alpha) p), bounded by -log(alpha).

    Source: arXiv 2402.03898 (skew reverse KL).
    """
    refuse_share("alpha", alpha)
    log_q_NV, log_p_NV = log_probabilities(student_NV, teacher_NV, temperature)
    return kl(log_q_NV, mixture(log_q_NV, log_p_NV, alpha))


def cross_entropy(student_NV: Tensor, labels_N: Tensor) -> Tensor:
    """-log q(label) at temperature 1; zero where the label is ignored."""
    log_q_NV = torch.log_softmax(student_NV, -1)
    kept_N = labels_N != IGNORED
    picked_N = log_q_NV.gather(-1, labels_N.clamp(min=0)[:, None])[:, 0]
    return torch.where(kept_N, -picked_N, 0.0)


def mean_over_tokens(values_N: Tensor, labels_N: Tensor, count: float | None = None) -> Tensor:
    """Sum over rows with a label, divided by `count`, by default the number of such rows.

    Under gradient accumulation `count` is the number of response tokens of the whole step: a mean
    of means would weigh each token by how the batch happened to be cut.
    """
    kept_N = labels_N != IGNORED
    return values_N[kept_N].sum() / (int(kept_N.sum()) or 1 if count is None else count)
