"""Muon (Jordan et al. 2024): momentum whose matrix is made orthogonal before each step.

The same update as `torch.optim.Muon`, which multiplies in bf16 whatever the processor: a CPU
without bf16 units takes minutes for what takes a second in fp32. This one asks for the precision.

Shapes: P rows, Q columns of a weight matrix.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

# The quintic whose slope at zero is largest; five steps bring singular values near one.
A, B, C = 3.4445, -4.7750, 2.0315
STEPS = 5


def orthogonal(matrix_PQ: Tensor, dtype: torch.dtype) -> Tensor:
    """Newton-Schulz: the nearest matrix whose singular values are all about one."""
    work = matrix_PQ.to(dtype)
    tall = work.shape[0] > work.shape[1]
    work = work.T if tall else work
    work = work / work.norm().clamp(min=1e-7)
    for _ in range(STEPS):
        gram = work @ work.T
        work = torch.addmm(work, torch.addmm(gram, gram, gram, beta=B, alpha=C), work, beta=A)
    return (work.T if tall else work).to(matrix_PQ.dtype)


class Muon(torch.optim.Optimizer):
    """For weight matrices only; `rate * sqrt(max(1, P / Q))` is the size of a step."""

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float,
        weight_decay: float,
        momentum: float = 0.95,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay})
        self.momentum, self.dtype = momentum, dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is None:
                    continue
                state = self.state[matrix]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(matrix.grad)
                buffer = state["momentum_buffer"].lerp_(matrix.grad, 1 - self.momentum)
                update = orthogonal(matrix.grad.lerp(buffer, self.momentum), self.dtype)
                matrix.mul_(1 - group["lr"] * group["weight_decay"])
                size = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
                matrix.add_(update, alpha=-group["lr"] * size)
