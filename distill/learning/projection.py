"""A language-model head as the fused losses use it: into a tile of logits, and the way back.

Products are added up in the tile's type (fp32, or fp64 for fp64 states) and rounded to the
weights' type at most once, at the end: rounding each chunk's share of a gradient to bf16 biases
training. A CPU has no bf16 product with an fp32 sum: there half weights are widened part by part.

Shapes: C rows of a chunk, V vocabulary, D width, P rows of a head at once.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

HALF = (torch.bfloat16, torch.float16)
WIDENED_BYTES = 2**24


@dataclass(frozen=True)
class Head:
    """Weight [V, D], bias [V], then z = cap tanh(scale y / cap), each where the model has it."""

    weight_VD: Tensor
    bias_V: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    def cut(self, vocabulary: int) -> "Head":
        """The same head without the padding that the other role lacks."""
        bias_V = None if self.bias_V is None else self.bias_V[:vocabulary]
        return Head(self.weight_VD[:vocabulary], bias_V, self.scale, self.softcap)


def product_type(states: Tensor, total: Tensor) -> torch.dtype:
    """The type in which a product is taken whose sum goes to `total`."""
    half_on_device = total.is_cuda and states.dtype in HALF
    return states.dtype if half_on_device else total.dtype


def add_product_(
    total: Tensor, left: Tensor, right: Tensor, *, alpha: float = 1.0, beta: float = 1.0
) -> None:
    """total = beta total + alpha left @ right, summed in total's type."""
    if left.dtype == total.dtype:
        total.addmm_(left, right, alpha=alpha, beta=beta)
    else:
        torch.addmm(total, left, right, out_dtype=total.dtype, alpha=alpha, beta=beta, out=total)


def parts(weight_VD: Tensor, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
    """The weight in `dtype`: whole when it is so already, else part by part."""
    rows = weight_VD.shape[0]
    step = rows
    if weight_VD.dtype != dtype:
        step = max(1, WIDENED_BYTES // (weight_VD.shape[1] * dtype.itemsize))
    for start in range(0, rows, step):
        part = slice(start, min(start + step, rows))
        yield part, weight_VD[part].to(dtype)


def project_(head: Head, hidden_CD: Tensor, logits_CV: Tensor, temperature: float) -> None:
    """Overwrite a tile with the head's logits divided by the temperature."""
    dtype = product_type(hidden_CD, logits_CV)
    plain = 1.0 if head.softcap is not None else head.scale / temperature
    states_CD = hidden_CD.to(dtype)
    for part, weight_PD in parts(head.weight_VD, dtype):
        add_product_(logits_CV[:, part], states_CD, weight_PD.T, alpha=plain, beta=0)
    if head.bias_V is not None:
        logits_CV.add_(head.bias_V.to(logits_CV.dtype), alpha=plain)
    if head.softcap is not None:
        logits_CV.mul_(head.scale / head.softcap).tanh_().mul_(head.softcap / temperature)


def subtract_projection_(
    head: Head, hidden_CE: Tensor, student_CV: Tensor, delta_CV: Tensor, temperature: float
) -> None:
    """delta = student minus this head's logits / temperature, in the product itself if it can."""
    if head.softcap is not None:
        project_(head, hidden_CE, delta_CV, temperature)
        torch.sub(student_CV, delta_CV, out=delta_CV)
        return
    dtype, plain = product_type(hidden_CE, delta_CV), head.scale / temperature
    states_CE = hidden_CE.to(dtype)
    delta_CV.copy_(student_CV)
    for part, weight_PE in parts(head.weight_VD, dtype):
        add_product_(delta_CV[:, part], states_CE, weight_PE.T, alpha=-plain)
    if head.bias_V is not None:
        delta_CV.sub_(head.bias_V.to(delta_CV.dtype), alpha=plain)


def narrowed(gradient_CV: Tensor, spare_CV: Tensor, dtype: torch.dtype) -> Tensor:
    """The gradient in the products' type, laid into a tile that is spent."""
    if gradient_CV.dtype == dtype:
        return gradient_CV
    return spare_CV.view(dtype)[:, : gradient_CV.shape[1]].copy_(gradient_CV)


def add_hidden_gradient_(total_CD: Tensor, gradient_CV: Tensor, head: Head) -> None:
    """total += gradient @ weight."""
    for part, weight_PD in parts(head.weight_VD, gradient_CV.dtype):
        add_product_(total_CD, gradient_CV[:, part], weight_PD)


def add_head_gradient_(
    total_VD: Tensor, gradient_CV: Tensor, hidden_CD: Tensor, *, fresh: bool
) -> None:
    """total += gradient^T @ hidden; `fresh` overwrites a total that was never set."""
    states_CD = hidden_CD.to(gradient_CV.dtype)
    add_product_(total_VD, gradient_CV.T, states_CD, beta=0 if fresh else 1)
