"""Plots as inline SVG that follows the page: its font, its colours, light and dark.

In: counts and samples. Out: `Figure`s. matplotlib draws with marker colours, which are then
replaced by the page's CSS variables; the same input gives the same bytes.
"""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from eval.pages.page import Figure
from eval.pages.wording import percent
from eval.statistics import quantile

INK, FAINT, GRID, MINE, THEIRS, EVEN, SOFT = (
    "#010101", "#020202", "#030303", "#040404", "#050505", "#060606", "#070707"
)  # fmt: skip
VARIABLES = {
    INK: "--ink",
    FAINT: "--faint",
    GRID: "--rule",
    MINE: "--mine",
    THEIRS: "--theirs",
    EVEN: "--even",
    SOFT: "--soft",
}
WIDTH_IN = 4.7
STYLE: dict[str, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": FAINT,
    "axes.labelsize": 10.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.labelsize": 10.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
}
MOST_BINS = 24
THINNEST_COUNT = 0.035
CHARACTER = 0.022  # width of a letter, as a share of the plot


@dataclass(frozen=True)
class Series:
    """Samples of one candidate and how they are drawn."""

    name: str
    values: Sequence[float]
    filled: bool = True


@contextmanager
def drawing(slug: str, height_in: float) -> Iterator[tuple[Any, list[str]]]:
    """Yield a matplotlib figure and a list that holds its SVG when the block ends."""
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    written: list[str] = []
    style: Any = {**STYLE, "svg.hashsalt": slug}
    with matplotlib.rc_context(style):
        canvas = Canvas(figsize=(WIDTH_IN, height_in), layout="constrained")
        yield canvas, written
        raw = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas.savefig(raw, format="svg", transparent=True, metadata=nothing)
    written.append(inline(raw.getvalue()))


def inline(svg: str) -> str:
    """An SVG document as an element of the page: no prologue, no sizes, the page's colours."""
    svg = svg[svg.index("<svg") :]
    start, rest = svg.split(">", 1)
    svg = re.sub(r' (?:width|height|version|xmlns(?::xlink)?)="[^"]*"', "", start) + ">" + rest
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: ((?:\w+ )*)([\d.]+)px [^;\"]*", r"font: \g<1>\2px var(--text)", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--text)", svg)
    svg = re.sub(r"\s*<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, flags=re.S)
    for color, variable in VARIABLES.items():
        svg = svg.replace(color, f"var({variable})")
    return svg.strip()


def outcome_plot(
    counts: Mapping[str, int], interval: Sequence[float] | None, rate: float | None
) -> Figure:
    """How the pairs ended, and the win rate of the decided ones on its scale."""
    colors = {"wins": MINE, "losses": THEIRS}
    order = ("wins", "ties", "flips", "unreadable", "failed", "losses")
    shown = {name: counts[name] for name in order if counts.get(name)}
    total = sum(shown.values())
    with drawing("outcomes", 1.9) as (canvas, svg):
        top, bottom = canvas.subplots(2, 1, height_ratios=[1.35, 1])
        draw_outcomes(top, shown, total, colors)
        draw_interval(bottom, interval, rate)
    ends = ", ".join(f"{name} {count}" for name, count in shown.items())
    said = f"Of {total} pairs: {ends}."
    if rate is not None and interval:
        said += (
            f" Win rate of decided pairs {percent(rate)}, "
            f"95 % interval {percent(interval[0])} to {percent(interval[1])}."
        )
    return Figure("How the pairs ended", said, "svg", svg[0])


def draw_outcomes(
    axis: Any, shown: Mapping[str, int], total: int, colors: Mapping[str, str]
) -> None:
    """One bar of all pairs; what is too thin for its name is named in the description only."""
    start, names = 0.0, []
    for name, count in shown.items():
        share = count / total
        axis.barh(0, share, left=start, height=0.5, color=colors.get(name, EVEN))
        if start:
            axis.plot([start, start], [-0.26, 0.26], color=SOFT, linewidth=1.5)
        middle = start + share / 2
        if share >= THINNEST_COUNT:
            axis.text(middle, 0.36, str(count), ha="center", va="bottom", fontsize=11)
            half = CHARACTER * len(name) / 2
            names.append((share, min(max(middle, half), 1 - half), half, name))
        start += share
    for middle, name in apart(names):
        axis.text(middle, -0.36, name, ha="center", va="top", color=FAINT)
    axis.set(xlim=(0, 1), ylim=(-0.9, 0.85))
    axis.set_axis_off()


def apart(names: Sequence[tuple[float, float, float, str]]) -> list[tuple[float, str]]:
    """Places of the names that fit, those of the larger parts first."""
    kept: list[tuple[float, float, str]] = []
    for _, middle, half, name in sorted(names, reverse=True):
        if all(abs(middle - other) > half + width + CHARACTER for other, width, _ in kept):
            kept.append((middle, half, name))
    return [(middle, name) for middle, _, name in kept]


def draw_interval(axis: Any, interval: Sequence[float] | None, rate: float | None) -> None:
    axis.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    if rate is not None and interval:
        axis.plot(interval, [0, 0], color=MINE, linewidth=2.5, solid_capstyle="butt")
        axis.plot([rate], [0], "o", color=MINE, markersize=7)
    axis.set(
        xlim=(0, 1), ylim=(-1, 1), yticks=[], xlabel="win rate of decided pairs, 95 % interval"
    )
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def distribution(slug: str, title: str, unit: str, series: Sequence[Series]) -> Figure:
    """Histograms on common bins, with the median of each series."""
    import numpy as np

    every = [value for one in series for value in one.values]
    high = quantile(every, 0.99) * 1.05 or 1.0
    low = 0.0 if min(every) < high / 2 else min(every) * 0.95
    bins = np.linspace(low, high, min(MOST_BINS, max(6, len(every) // 4)) + 1)
    with drawing(slug, 2.1) as (canvas, svg):
        axis = canvas.subplots()
        for one in series:
            draw_series(axis, one, bins)
        axis.set(xlabel=unit, xlim=(bins[0], bins[-1]))
        axis.set_ylim(0, axis.get_ylim()[1] * 1.22)
        axis.set_yticks([])
        draw_medians(axis, series)
    beyond = sum(value > high for value in every)
    said = "; ".join(described(one, unit) for one in series)
    tail = f" {beyond} above {high:.3g} {unit} are in the last column." if beyond else ""
    return Figure(title, f"{said}.{tail}", "svg", svg[0])


def draw_series(axis: Any, one: Series, bins: Any) -> None:
    import numpy as np

    kept = np.minimum(np.asarray(one.values, dtype=float), bins[-1])
    if one.filled:
        axis.hist(kept, bins=bins, color=MINE, alpha=0.85, rwidth=0.92)
    else:
        axis.hist(kept, bins=bins, histtype="step", color=THEIRS, linewidth=1.6)


def draw_medians(axis: Any, series: Sequence[Series]) -> None:
    """A line and a label for each median; the lower one is labelled to its left."""
    top = axis.get_ylim()[1]
    middles = [quantile(one.values, 0.5) for one in series]
    low, high = axis.get_xlim()
    for one, middle in zip(series, middles, strict=True):
        color = MINE if one.filled else THEIRS
        axis.plot([middle, middle], [0, top * 0.9], color=INK, linewidth=0.8)
        left = middle > (low + high) / 2 or (len(series) > 1 and middle == min(middles))
        left = left and middle - low > 0.2 * (high - low) and middle != max(middles)
        left = left or middle > low + 0.7 * (high - low)
        label = f"{one.name} {middle:.3g}" if one.name else f"median {middle:.3g}"
        axis.annotate(
            label,
            (middle, top),
            xytext=(-4 if left else 4, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
            color=color if one.name else INK,
        )


def described(one: Series, unit: str) -> str:
    low, middle, high = (quantile(one.values, share) for share in (0.05, 0.5, 0.95))
    who = f"{one.name}: " if one.name else ""
    return (
        f"{who}{len(one.values)} values, median {middle:.3g} {unit}, "
        f"5 % below {low:.3g}, 5 % above {high:.3g}"
    )
