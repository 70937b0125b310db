"""The leakage gauge: how much of what the teacher says only its privileged fields can explain.

In: a teacher, rows with its view with and without the fields, a student. Out: per token
log p(token | fields) - log p(token | no fields), in nats; factors for the loss; and for a student
KL(q || p without) - KL(q || p with), its mean under the student's own words. Refused: nothing.

A teacher that has read "my dog died" puts mass on words that the student cannot justify; where the
gauge is high, the student can only guess. Ours; the danger is named in arXiv 2606.30626.

Shapes: N response tokens, E the teacher's width, V vocabulary.
"""

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from distill.learning.fused import fused_linear_divergence
from distill.learning.pride_rows import Row
from distill.learning.pride_student import PrideStudent, Taking
from distill.learning.projection import Head
from distill.learning.stage import inner_model
from distill.learning.teacher import Taught, Teacher, head_logits, head_of

LOGITS_AT_ONCE = 2**24
split: Any = torch.split


class Gauge(NamedTuple):
    """Means over the tokens of a sample of dialogues, in nats."""

    reference: float
    student: float
    tokens: int


@torch.no_grad()
def token_log_probs(head: Head, hidden_NE: Tensor, tokens_N: Tensor) -> Tensor:
    """log p of tokens [N] from the states that predict them, in chunks."""
    rows = max(1, LOGITS_AT_ONCE // len(head.weight_VD))
    found = [
        torch.log_softmax(head_logits(head, states.to(head.weight_VD.dtype)).float(), -1)
        .gather(-1, tokens[:, None])
        .squeeze(-1)
        for states, tokens in zip(split(hidden_NE, rows), split(tokens_N, rows), strict=True)
    ]
    return torch.cat(found)


def views(rows: Sequence[Row]) -> tuple[list[Taught], list[Taught]]:
    """What the teacher reads of rows with the fields, and without."""
    informed = [row.informed for row in rows if row.informed is not None]
    uninformed = [row.uninformed for row in rows if row.uninformed is not None]
    return informed, uninformed


def token_gauge(teacher: Teacher, rows: Sequence[Row], informed_NE: Tensor) -> Tensor:
    """The gauge of each token [N] of rows; `informed_NE` are the teacher's states with fields."""
    informed, uninformed = views(rows)
    tokens_N = torch.tensor([t for v in informed for t in v.reply_ids], device=teacher.device)
    with_N = token_log_probs(teacher.head, informed_NE, tokens_N)
    without_N = token_log_probs(teacher.head, teacher.hidden(uninformed), tokens_N)
    return with_N - without_N


def token_weights(gauge_N: Tensor, strength: float) -> Tensor:
    """min(1, p_without / p_with)^strength: 1 where the dialogue alone explains the token."""
    return torch.exp(-strength * gauge_N.clamp(min=0))


def sample_of(rows: Sequence[Row], size: int, seed: int) -> list[Row]:
    """A seeded choice of rows of which the teacher knows more than the student."""
    known = [row for row in rows if row.informed != row.uninformed]
    return random.Random(f"{seed}/gauge").sample(known, min(size, len(known)))


@torch.no_grad()
def student_gauge(
    teacher: Teacher, pride: PrideStudent, rows: Sequence[Row], taking: Taking
) -> Gauge:
    """Both gauges of a sample: of the reference replies, and of the student's distribution."""
    informed, uninformed = views(rows)
    with_NE, without_NE = teacher.hidden(informed), teacher.hidden(uninformed)
    states_ND, tokens_N, _ = pride.states(taking, plain=True)
    inner = inner_model(pride.student)
    head = head_of(inner)

    def divergence(teacher_NE: Tensor) -> Tensor:
        return fused_linear_divergence(
            states_ND,
            head.weight_VD,
            teacher_NE.to(states_ND.device),
            teacher.head.weight_VD.to(states_ND.device),
            student_bias_V=head.bias_V,
            student_logit_scale=head.scale,
            student_softcap=head.softcap,
            teacher_logit_scale=teacher.head.scale,
            teacher_softcap=teacher.head.softcap,
            reduction="sum",
        ).divergence_N

    student_N = divergence(without_NE) - divergence(with_NE)
    own = tokens_N.to(teacher.device)
    reference_N = token_log_probs(teacher.head, with_NE, own)
    reference_N = reference_N - token_log_probs(teacher.head, without_NE, own)
    return Gauge(float(reference_N.mean()), float(student_N.mean()), len(tokens_N))
