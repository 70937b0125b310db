"""Figures of an ablation as a table and as a plot, with intervals over seeds.

In: cells and the results of their runs. Out: rows, Markdown, a PNG. Refused: nothing.

An arm is compared with CE alone seed by seed, on the same dialogues in the same order: the
interval is Student's, 95 %, of these differences, and of win rates over seeds. With one seed there
is none.
"""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Quantile 0.975 of Student's t, by degrees of freedom from 1; the normal one beyond.
T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """An arm at a share of dialogues with fields, and the run that it reads."""

    arm: str
    share: float
    run: str


@dataclass
class Runs:
    """By the name of a run and seed: held-out cross-entropy, wins of all of it over it, seconds."""

    losses: dict[str, float] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, name: str, result: Mapping[str, Any], seconds: float) -> None:
        kind, _, run = name.partition(" ")
        if kind == "train":
            self.losses[run] = result["stages"]["pride"]["validation_loss"]
            self.seconds[run] = seconds
        elif kind == "judge" and result["win_rate"] is not None:
            self.rates[run] = result["win_rate"]


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Mean and half its 95 % interval (Student); None below two values."""
    if len(values) < 2:
        return None
    degrees = len(values) - 1
    quantile = T_975[degrees - 1] if degrees <= len(T_975) else 1.96
    return statistics.mean(values), quantile * statistics.stdev(values) / math.sqrt(len(values))


def table_of(cells: Sequence[Cell], runs: Runs, seeds: int) -> list[Row]:
    """A row a cell: mean cross-entropy, its difference from CE, wins of all of it over it.

    Over the seeds that are done, of the cell and of CE; a cell without any has no row.
    """
    rows: list[Row] = []
    for cell in cells:
        pairs = [(f"{cell.run}-{seed}", f"ce-{seed}") for seed in range(seeds)]
        pairs = [pair for pair in pairs if runs.losses.keys() >= {*pair}]
        if not pairs:
            continue
        names = [name for name, _ in pairs]
        losses = [runs.losses[name] for name in names]
        apart = [runs.losses[name] - runs.losses[alone] for name, alone in pairs]
        rates = [runs.rates[name] for name in names if name in runs.rates]
        found, won = interval(apart), interval(rates)
        rows.append(
            {
                "arm": cell.arm,
                "known_share": cell.share,
                "run": cell.run,
                "seeds": len(pairs),
                "cross_entropy": statistics.mean(losses),
                "difference": statistics.mean(apart),
                "half_interval": found[1] if found and cell.run != "ce" else None,
                "win_rate": statistics.mean(rates) if rates else None,
                "win_half_interval": won[1] if won else None,
                "win_rates": rates,
                "seconds": statistics.mean(runs.seconds[name] for name in names),
            }
        )
    return rows


def markdown(rows: Sequence[Row], seeds: int, judge: str | None) -> str:
    head = ["arm", "fields", "held-out CE", "against CE alone", "seconds"]
    if judge:
        head.insert(4, f"all with fields wins over it ({judge})")
    lines = [
        f"# Ablation of PRIDE, {seeds} seed{'s' if seeds > 1 else ''}",
        "",
        "Cross-entropy in nats a token of the deployed student on the validation dialogues; "
        "differences are seed by seed, with their 95 % interval.",
        "",
        f"| {' | '.join(head)} |",
        f"| {' | '.join(['---'] * 2 + ['---:'] * (len(head) - 2))} |",
        *(f"| {' | '.join(words(row, judge))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def words(row: Row, judge: str | None) -> Iterator[str]:
    yield row["arm"]
    yield f"{row['known_share']:.0%}"
    yield f"{row['cross_entropy']:.4f}"
    half = row["half_interval"]
    yield (
        ""
        if row["run"] == "ce"
        else (f"{row['difference']:+.4f}" + ("" if half is None else f" ± {half:.4f}"))
    )
    if judge:
        half = row["win_half_interval"]
        yield (
            ""
            if row["win_rate"] is None
            else f"{row['win_rate']:.1%}" + ("" if half is None else f" ± {half:.1%}")
        )
    yield f"{row['seconds']:.0f}"


def plotted(rows: Sequence[Row], path: Path) -> None:
    """Left the arms with and without fields, right all of it by the share with fields."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    for share, label, shift, colour in (
        (1.0, "with", -0.12, "#2f5d8a"),
        (0.0, "without", 0.12, "#c2571a"),
    ):
        shown = [row for row in rows if row["known_share"] == share]
        at = [arms.index(row["arm"]) + shift for row in shown]
        bars(left, at, shown, colour, f"{label} privileged fields")
    left.set_xticks(range(len(arms)), arms, rotation=20)
    left.set_ylabel("held-out CE, difference from CE alone (nats)")
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False
    )
    shown = sorted((r for r in rows if r["arm"] == "all"), key=lambda r: r["known_share"])
    bars(right, [row["known_share"] * 100 for row in shown], shown, "#2f5d8a", "all", line="-")
    right.set_xlabel("dialogues with privileged fields (%)")
    for panel in (left, right):
        panel.axhline(0, color="#888888", linewidth=0.8)
        panel.grid(alpha=0.3)
    figure.savefig(path, format="png", dpi=120)


def bars(
    panel: Any, at: Sequence[float], rows: Sequence[Row], colour: str, label: str, line: str = ""
) -> None:
    panel.errorbar(
        at,
        [row["difference"] for row in rows],
        yerr=[row["half_interval"] or 0.0 for row in rows],
        fmt=f"o{line}",
        color=colour,
        capsize=3,
        label=label,
    )
