"""Speed and peak extra memory of the distillation losses against the pinned peers.

    python -m tests.benchmarks.distillation_losses [--rounds N] [--threads N] [--only TABLE]

Peers: TRL's `ChunkedDivergenceFunction` and GKD's `generalized_jsd_loss` from hidden states, and
Liger's chunked JSD where liger-kernel is installed, all as the reverse KL (beta 1); for MMD the
code that expands [2n, 2n, m]. Forward and backward. Every round runs all paths in turn: figures are
medians over rounds, ratios are medians of each round's ratio. Memory is the peak of the process
above what it held before, gradients included; Linux only, or the allocator's on a GPU. On a machine
that others share, give one thread and read the CPU seconds.
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
from typing import Annotated, Any

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
    loss: Any = GKDTrainer.generalized_jsd_loss
    found: Tensor = loss(student_NV[None], teacher_NV[None], labels_N, beta=1)
    return found


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


@dataclass
class Figures:
    """One forward and backward pass; `work_s` is the processor time of this process alone."""

    wall_s: float
    work_s: float
    extra_mb: float
    loss: float


def measured(path: Measured, clear: Callable[[], None], cuda: bool) -> Figures:
    clear()
    gc.collect()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() / 1e6
    else:
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_kib("VmRSS") * 1024 / 1e6
    started, work = time.perf_counter(), time.process_time()
    loss = path()
    torch.autograd.backward(loss)
    if cuda:
        torch.cuda.synchronize()
    wall_s, work_s = time.perf_counter() - started, time.process_time() - work
    peak = torch.cuda.max_memory_allocated() if cuda else resident_kib("VmHWM") * 1024
    return Figures(wall_s, work_s, peak / 1e6 - before, loss.item())


def middle(quantity: str, of: list[Figures]) -> float:
    return statistics.median(getattr(figures, quantity) for figures in of)


def ratio(quantity: str, above: list[Figures], below: list[Figures]) -> str:
    """Median of each round's ratio: rounds on a shared machine differ more than paths do."""
    pairs = zip(above, below, strict=True)
    found = [getattr(a, quantity) / max(1e-9, getattr(b, quantity)) for a, b in pairs]
    return f"{statistics.median(found):.3g}x"


def compare(
    name: str, paths: dict[str, Measured], clear: Callable[[], None], rounds: int, cuda: bool
) -> Table:
    """A table of one case; the first path is ours. The first round warms up and is dropped."""
    found: dict[str, list[Figures]] = {label: [] for label in paths}
    for number in range(rounds + 1):
        for label, path in paths.items():
            figures = measured(path, clear, cuda)
            if number:
                found[label].append(figures)
    clear()
    columns = ("wall s", "CPU s", "extra MB", "loss", "wall / ours", "CPU / ours", "ours / MB")
    table = Table(name, *columns)
    mine = next(iter(found.values()))
    for label, theirs in found.items():
        table.add_row(
            label,
            f"{middle('wall_s', theirs):.3g}",
            f"{middle('work_s', theirs):.3g}",
            f"{middle('extra_mb', theirs):.1f}",
            f"{middle('loss', theirs):.6g}",
            ratio("wall_s", theirs, mine),
            ratio("work_s", theirs, mine),
            ratio("extra_mb", mine, theirs),
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
    kind: dict[str, Any] = {"dtype": torch.bfloat16, "device": "cuda"} if cuda else {}
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
    only: Annotated[str, typer.Option(help="A part of a table's name.")] = "",
) -> None:
    torch.set_num_threads(threads)
    cuda = torch.cuda.is_available()
    console = Console()
    where = torch.cuda.get_device_name() if cuda else f"CPU, {threads} threads"
    console.print(f"{where}; medians of {rounds} rounds, forward and backward")
    for case in cases(small, cuda):
        if only not in case.name:
            continue
        paths = divergence_paths(case, dense=not case.frozen)
        console.print(compare(case.name, paths, case.clear, rounds, cuda))
    if only in "MMD":
        console.print(mmd_table(rounds, small, cuda))


if __name__ == "__main__":
    typer.run(main)
