"""Size against quality of every candidate, as a table and as a picture.

In: candidates as they were measured. Out: a rich table; a PNG file.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from export.card import share
from export.device import Memory


@dataclass
class Candidate:
    """One type: bytes, memory at work, figures against torch, and what speaks against it."""

    kind: str
    size_bytes: int
    bits_per_weight: float
    memory: Memory | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    against: list[str] = field(default_factory=list)

    def record(self) -> dict[str, Any]:
        return {
            "type": self.kind,
            "size_bytes": self.size_bytes,
            "bits_per_weight": self.bits_per_weight,
            "memory": self.memory.record() if self.memory else None,
            **self.figures,
            "against": self.against,
        }


def table(candidates: Sequence[Candidate], chosen: str | None) -> Table:
    """Largest first; the interval is a bootstrap over conversations."""
    found = Table(title="types against the student in torch", box=SIMPLE_HEAD, pad_edge=False)
    found.add_column("type")
    for name in ("MB", "bits", "memory MB", "mean KLD", "at most", "top-1", "win rate"):
        found.add_column(name, justify="right")
    found.add_column("")
    for one in candidates:
        figures = one.figures
        found.add_row(
            one.kind,
            f"{one.size_bytes / 1e6:.1f}",
            f"{one.bits_per_weight:.2f}",
            f"{one.memory.total / 1e6:.0f}" if one.memory else "-",
            f"{figures['mean_kld']:.2g}" if figures else "-",
            f"{figures['mean_kld_high']:.2g}" if figures else "-",
            f"{figures['top1']:.1%}" if figures else "-",
            share(figures.get("win_rate")),
            "chosen" if one.kind == chosen else "; ".join(one.against) or "larger",
        )
    return found


def plot(candidates: Sequence[Candidate], chosen: str | None, path: Path) -> None:
    """Bytes on one axis, divergence with its interval on the other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    measured = [one for one in candidates if one.figures]
    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    sizes = [one.size_bytes / 1e6 for one in measured]
    middle = [one.figures["mean_kld"] for one in measured]
    spread = [
        [m - one.figures["mean_kld_low"] for m, one in zip(middle, measured, strict=True)],
        [one.figures["mean_kld_high"] - m for m, one in zip(middle, measured, strict=True)],
    ]
    axes.errorbar(sizes, middle, spread, fmt="o-", capsize=3)
    for one, size, value in zip(measured, sizes, middle, strict=True):
        weight = "bold" if one.kind == chosen else "normal"
        axes.annotate(one.kind, (size, value), xytext=(4, 4), textcoords="offset points",
                      fontweight=weight)  # fmt: skip
    axes.set(xlabel="MB", ylabel="mean KL divergence from torch, nats", yscale="log")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
