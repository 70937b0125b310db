"""Small students and teachers: hidden states and heads with a wide spread of logits."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from distill.learning import losses
from distill.learning.divergence_rows import Divergence
from distill.learning.fused import Scored, fused_linear_divergence
from distill.learning.masks import IGNORED

DIVERGENCES = [
    Divergence("forward-kl"),
    Divergence("reverse-kl"),
    Divergence("jsd", 0.3),
    Divergence("jsd", 0.9),
    Divergence("skewed-forward-kl", 0.1),
    Divergence("skewed-reverse-kl", 0.1),
]


def name_of(divergence: Divergence) -> str:
    return f"{divergence.kind}-{divergence.share}"


@dataclass
class Pair:
    """A student whose head trains, and a teacher."""

    student_ND: Tensor
    student_VD: Tensor
    teacher_NE: Tensor
    teacher_VE: Tensor

    @property
    def states(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.student_ND, self.student_VD, self.teacher_NE, self.teacher_VE

    @property
    def trained(self) -> tuple[Tensor, Tensor]:
        return self.student_ND, self.student_VD

    def frozen(self) -> "Pair":
        return replace(self, student_VD=self.student_VD.detach())


def random_pair(
    seed: int,
    rows: int = 7,
    vocabulary: int = 23,
    *,
    student: int = 5,
    teacher: int = 8,
    extra: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Pair:
    """`extra` rows of padding on the student's head (negative: on the teacher's)."""
    source = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64).to(dtype)

    return Pair(
        normal(rows, student).requires_grad_(),
        normal(vocabulary + max(0, extra), student).requires_grad_(),
        normal(rows, teacher),
        normal(vocabulary + max(0, -extra), teacher),
    )


def random_labels(seed: int, rows: int, vocabulary: int, share_ignored: float = 0.4) -> Tensor:
    source = torch.Generator().manual_seed(seed)
    labels_N = torch.randint(vocabulary, (rows,), generator=source)
    labels_N[torch.rand(rows, generator=source) < share_ignored] = IGNORED
    return labels_N


def naive_rows(
    divergence: Divergence, student_NV: Tensor, teacher_NV: Tensor, temperature: float = 1.0
) -> Tensor:
    """The reference for a divergence."""
    formula: Any = {
        "forward-kl": losses.forward_kl,
        "reverse-kl": losses.reverse_kl,
        "jsd": losses.generalized_jsd,
        "skewed-forward-kl": losses.skewed_forward_kl,
        "skewed-reverse-kl": losses.skewed_reverse_kl,
    }[divergence.kind]
    shares = [divergence.share] if divergence.share else []
    rows_N: Tensor = formula(student_NV, teacher_NV, *shares, temperature=temperature)
    return rows_N


def fused(pair: Pair, divergence: Divergence, **options: Any) -> Scored:
    return fused_linear_divergence(*pair.states, divergence, **options)


def gradients(loss: Tensor, *of: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, of))


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float((found.double() - exact).norm() / exact.norm())
