"""Loss curves of a run as one picture.

In: the logs of its stages. Out: a PNG.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.learning.stage import StageResult

TITLES = {
    "sft": "Supervised fine-tuning",
    "dpo": "Direct preference optimization",
    "pride": "Distillation with privileged information",
}


def draw_curves(stages: Mapping[str, StageResult], path: Path) -> None:
    """One panel a stage: the loss of each step, its running mean, and the validation loss."""
    figure = Figure(figsize=(5.2 * len(stages), 3.6), layout="constrained")
    panels = figure.subplots(1, len(stages), squeeze=False)[0]
    for panel, (name, stage) in zip(panels, stages.items(), strict=True):
        draw_stage(panel, name, stage.history)
    figure.savefig(path, format="png", dpi=120)


def draw_pretraining(log: Sequence[Mapping[str, float]], path: Path) -> None:
    """Bits per byte on held-out listener turns over the tokens seen, in millions."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    panel = figure.subplots()
    scored = [(e["tokens"] / 1e6, e["bits_per_byte"]) for e in log if "bits_per_byte" in e]
    panel.plot(*zip(*scored, strict=True), "o-", color="#2f5d8a")
    panel.set(xlabel="tokens seen (millions)", ylabel="bits per byte, listener turns, valid")
    panel.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)


def draw_stage(panel: Axes, name: str, history: Sequence[Mapping[str, float]]) -> None:
    steps = [(entry["step"], entry["loss"]) for entry in history if "loss" in entry]
    scored = [(entry["step"], entry["eval_loss"]) for entry in history if "eval_loss" in entry]
    at, losses = zip(*steps, strict=True)
    panel.plot(at, losses, color="#b8c4d6", linewidth=1, label="training, each step")
    panel.plot(at, running_mean(losses), color="#2f5d8a", label="training, running mean")
    if scored:
        panel.plot(*zip(*scored, strict=True), "o-", color="#c2571a", label="validation")
    panel.set(title=TITLES[name], xlabel="step", ylabel="loss (nats)")
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)


def running_mean(values: Sequence[float], keep: float = 0.9) -> list[float]:
    """Exponential mean without the bias of its start."""
    means, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        means.append(total / weight)
    return means
