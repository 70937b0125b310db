"""Speed and peak extra memory of the distillation losses against the pinned peers.

    python -m tests.benchmarks.distillation_losses [--rounds N] [--threads N] [--small]

Peers: TRL's `ChunkedDivergenceFunction` and GKD's `generalized_jsd_loss` from hidden states, and
Liger's chunked JSD where liger-kernel is installed, all as the reverse KL (beta 1); for MMD the
code that expands [2n, 2n, m]. Forward and backward. Every round runs all paths in turn: seconds are
medians over rounds, ratios are medians of each round's ratio. Memory is the peak of the process
above what it held before, gradients included; Linux only, or the allocator's on a GPU.
"""

import gc
import importlib.util
import re
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from distill.learning.fused import fused_linear_reverse_kl
from distill.learning.masks import IGNORED
from distill.learning.mmd import rbf_mmd2

Measured = Callable[[], Tensor]
STATUS = Path("/proc/self/status")


@dataclass
class Case:
    """States and heads of one shape; `share` of the rows carry a label."""

    name: str
    rows: int
    student: int
    teacher: int
    vocabulary: int
    share: float = 1.0
    frozen: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"

    def __post_init__(self) -> None:
        torch.manual_seed(0)
        made = partial(torch.randn, dtype=self.dtype, device=self.device)
        self.student_ND = made(self.rows, self.student).requires_grad_()
        self.student_VD = (made(self.vocabulary, self.student) / self.student**0.5).requires_grad_(
            not self.frozen
        )
        self.teacher_NE = made(self.rows, self.teacher)
        self.teacher_VE = made(self.vocabulary, self.teacher) / self.teacher**0.5
        self.labels_N = torch.randint(self.vocabulary, (self.rows,), device=self.device)
        ignored = torch.randperm(self.rows, device=self.device)[int(self.share * self.rows) :]
        self.labels_N[ignored] = IGNORED

    @property
    def count(self) -> int:
        return int((self.labels_N != IGNORED).sum())

    def clear(self) -> None:
        self.student_ND.grad = self.student_VD.grad = None


def ours(case: Case) -> Tensor:
    return fused_linear_reverse_kl(
        case.student_ND,
        case.student_VD,
        case.teacher_NE,
        case.teacher_VE,
        labels_N=case.labels_N if case.share < 1 else None,
    )


def trl_chunked(case: Case) -> Tensor:
    """On a GPU TRL drops masked rows first; elsewhere it projects them."""
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    kept_N = case.labels_N != IGNORED
    mine, theirs = case.student_ND, case.teacher_NE
    if case.device == "cuda":
        mine, theirs = mine[kept_N], theirs[kept_N]
    rows, _ = ChunkedDivergenceFunction.apply(
        mine, case.student_VD, None, theirs, case.teacher_VE, None, 1.0
    )
    total = rows.sum() if case.device == "cuda" else (rows * kept_N).sum()
    return total / case.count


def trl_gkd(case: Case) -> Tensor:
    from trl.experimental.gkd.gkd_trainer import GKDTrainer

    student_NV = case.student_ND @ case.student_VD.T
    with torch.no_grad():
        teacher_NV = case.teacher_NE @ case.teacher_VE.T
    labels_N = case.labels_N[None]
    return GKDTrainer.generalized_jsd_loss(student_NV[None], teacher_NV[None], labels_N, beta=1)


def liger_chunked(case: Case) -> Tensor:
    from liger_kernel.chunked_loss import LigerFusedLinearJSDLoss

    loss = LigerFusedLinearJSDLoss(
        weight_hard_loss=0.0, weight_soft_loss=1.0, beta=1.0, compiled=case.device == "cuda"
    )
    return loss(case.student_ND, case.student_VD, case.teacher_NE, case.teacher_VE, case.labels_N)


def expanded_mmd2(student_NF: Tensor, teacher_NF: Tensor, kernels: int = 5) -> Tensor:
    """The way that is usually copied: all differences of the pooled rows, one exp a kernel."""
    pooled = torch.cat([student_NF, teacher_NF])
    rows = len(pooled)
    squares = (pooled[None] - pooled[:, None]).pow(2).sum(2)
    middle = squares.detach().sum() / (rows * rows - rows)
    widths = [middle * 2.0 ** (j - kernels // 2) for j in range(kernels)]
    values = sum(torch.exp(-squares / width) for width in widths)
    half = len(student_NF)
    inner, outer, cross = values[:half, :half], values[half:, half:], values[:half, half:]
    pairs = half * (half - 1)
    spread = (inner.sum() - inner.trace()) / pairs + (outer.sum() - outer.trace()) / pairs
    return spread - 2 * cross.mean()


def resident_kib(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+)", STATUS.read_text())
    assert found
    return int(found[1])


def measured(path: Measured, clear: Callable[[], None], cuda: bool) -> tuple[float, float, float]:
    """Seconds, peak extra MB and the loss of one forward and backward pass."""
    clear()
    gc.collect()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 1e6
    else:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_kib("VmRSS") * 1024 / 1e6
    started = time.perf_counter()
    loss = path()
    loss.backward()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    peak = torch.cuda.max_memory_allocated() if cuda else resident_kib("VmHWM") * 1024
    return seconds, peak / 1e6 - before, loss.item()


def compare(
    name: str, paths: dict[str, Measured], clear: Callable[[], None], rounds: int, cuda: bool
) -> Table:
    """A table of one case; the first path is ours."""
    found: dict[str, list[tuple[float, float, float]]] = {label: [] for label in paths}
    for number in range(rounds + 1):
        for label, path in paths.items():
            figures = measured(path, clear, cuda)
            if number:
                found[label].append(figures)
    clear()
    table = Table(name, "s", "extra MB", "loss", "speed of ours", "memory of ours")
    mine = next(iter(found.values()))
    for label, theirs in found.items():
        speed = statistics.median(t[0] / m[0] for m, t in zip(mine, theirs, strict=True))
        memory = statistics.median(m[1] for m in mine) / max(
            1e-3, statistics.median(t[1] for t in theirs)
        )
        seconds, extra, loss = (statistics.median(t[i] for t in theirs) for i in range(3))
        table.add_row(
            label,
            f"{seconds:.3f}",
            f"{extra:.0f}",
            f"{loss:.6g}",
            f"{speed:.2f}x",
            f"{memory:.2f}x",
        )
    return table


def divergence_paths(case: Case, dense: bool) -> dict[str, Measured]:
    paths: dict[str, Measured] = {
        "ours": partial(ours, case),
        "TRL chunked": partial(trl_chunked, case),
    }
    if dense:
        paths["TRL GKD"] = partial(trl_gkd, case)
        if importlib.util.find_spec("liger_kernel"):
            paths["Liger chunked"] = partial(liger_chunked, case)
    return paths


def cases(small: bool, cuda: bool) -> Iterator[Case]:
    """The shapes of the aims, one at a time in memory; `small` is a rehearsal."""
    rows, student, teacher, vocabulary = (256, 896, 1536, 65536)
    if small:
        rows, student, teacher, vocabulary = (32, 64, 96, 4096)
    elif cuda:
        rows, student, teacher, vocabulary = (8192, 2048, 3584, 151936)
    kind = {"dtype": torch.bfloat16, "device": "cuda"} if cuda else {}
    shape = (student, teacher, vocabulary)
    masked = rows if cuda else 2 * rows
    yield Case("reverse KL, head trains", rows, *shape, **kind)
    yield Case("reverse KL, head frozen", rows, *shape, frozen=True, **kind)
    yield Case("reverse KL, 35 % response", masked, *shape, share=0.35, **kind)


def mmd_table(rounds: int, small: bool, cuda: bool) -> Table:
    rows, width = (32, 64) if small else (256, 1024)
    device = "cuda" if cuda else "cpu"
    student = torch.randn(rows, width, device=device).requires_grad_()
    teacher = torch.randn(rows, width, device=device) + 0.1
    paths: dict[str, Measured] = {
        "ours": partial(rbf_mmd2, student, teacher),
        "[2n, 2n, m]": partial(expanded_mmd2, student, teacher),
    }

    def clear() -> None:
        student.grad = None

    return compare(f"MMD, n={rows} m={width}", paths, clear, rounds, cuda)


def main(
    rounds: Annotated[int, typer.Option()] = 5,
    threads: Annotated[int, typer.Option()] = torch.get_num_threads(),
    small: bool = False,
) -> None:
    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    console = Console()
    where = torch.cuda.get_device_name() if cuda else f"CPU, {threads} threads"
    console.print(f"{where}; medians of {rounds} rounds, forward and backward")
    for case in cases(small, cuda):
        paths = divergence_paths(case, dense=not case.frozen)
        console.print(compare(case.name, paths, case.clear, rounds, cuda))
    console.print(mmd_table(rounds, small, cuda))


if __name__ == "__main__":
    typer.run(main)
