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

from eval.pages.curves import draw_label
from eval.pages.page import Figure
from eval.pages.wording import brief, percent
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
ROW = 0.19  # height of a label, as a share of the tallest column
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
    order = ("wins", "ties", "flips", "split", "unreadable", "failed", "losses")
    shown = {name: counts[name] for name in order if counts.get(name)}
    total = sum(shown.values())
    known = (rate, *interval) if rate is not None and interval else None
    with drawing("outcomes", 1.9 if known else 1.1) as (canvas, svg):
        if known:
            top, bottom = canvas.subplots(2, 1, height_ratios=[1.35, 1])
            draw_interval(bottom, *known)
        else:
            top = canvas.subplots()
        draw_outcomes(top, shown, total, colors)
    ends = ", ".join(f"{name} {count}" for name, count in shown.items())
    said = f"Of {total} pairs: {ends}."
    if known:
        share, low, high = map(percent, known)
        said += f" Win rate of decided pairs {share}, 95 % interval {low} to {high}."
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
            weight = share + (name in colors)
            names.append((weight, min(max(middle, half), 1 - half), half, name))
        start += share
    for middle, name in apart(names):
        axis.text(middle, -0.36, name, ha="center", va="top", color=FAINT)
    axis.set(xlim=(0, 1), ylim=(-0.9, 0.85))
    axis.set_axis_off()


def apart(names: Sequence[tuple[float, float, float, str]]) -> list[tuple[float, str]]:
    """Places of the names that fit, those of wins and losses first, then of larger parts."""
    kept: list[tuple[float, float, str]] = []
    for _, middle, half, name in sorted(names, reverse=True):
        if all(abs(middle - other) > half + width + CHARACTER for other, width, _ in kept):
            kept.append((middle, half, name))
    return [(middle, name) for middle, _, name in kept]


def draw_interval(axis: Any, rate: float, low: float, high: float) -> None:
    axis.axvline(0.5, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
    axis.plot([low, high], [0, 0], color=MINE, linewidth=2.5, solid_capstyle="butt")
    axis.plot([rate], [0], "o", color=MINE, markersize=7)
    axis.set(
        xlim=(0, 1), ylim=(-1, 1), yticks=[], xlabel="win rate of decided pairs, 95 % interval"
    )
    axis.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])


def strength_plot(strengths: Sequence[Mapping[str, Any]]) -> Figure:
    """Each candidate's strength on one scale of log-odds, the strongest on top."""
    ranked = sorted(strengths, key=lambda one: one["log_odds"])
    with drawing("strengths", 0.75 + 0.34 * len(ranked)) as (canvas, svg):
        axis = canvas.subplots()
        axis.axvline(0, color=FAINT, linewidth=0.8, linestyle=(0, (3, 3)))
        for place, one in enumerate(ranked):
            axis.plot([one["low"], one["high"]], [place, place], color=MINE, linewidth=2.5)
            axis.plot([one["log_odds"]], [place], "o", color=MINE, markersize=7)
        axis.set_yticks(range(len(ranked)), [one["candidate"] for one in ranked])
        axis.tick_params(axis="y", labelcolor=INK)
        axis.set(ylim=(-0.6, len(ranked) - 0.4), xlabel="log-odds against the average candidate")
    told = "; ".join(
        f"{one['candidate']} {one['log_odds']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})"
        for one in ranked[::-1]
    )
    return Figure("Strengths with 95 % intervals", f"{told}.", "svg", svg[0])


def distribution(slug: str, title: str, unit: str, series: Sequence[Series]) -> Figure:
    """Histograms on common bins, with the median of each series."""
    every = [value for one in series for value in one.values]
    bins = edges(every)
    with drawing(slug, 1.85 + 0.25 * len(series)) as (canvas, svg):
        axis = canvas.subplots()
        for one in series:
            draw_series(axis, one, bins)
        axis.set(xlabel=unit, xlim=(bins[0], bins[-1]))
        axis.set_yticks([])
        axis.locator_params("x", nbins=7, integer=whole(every))
        draw_medians(axis, series)
    beyond = sum(value > bins[-1] for value in every)
    said = "; ".join(described(one, unit) for one in series)
    tail = f" {beyond} above {brief(bins[-1])} {unit} are in the last column." if beyond else ""
    return Figure(title, f"{said}.{tail}", "svg", svg[0])


def edges(values: Sequence[float]) -> Any:
    """Bins of one width from a round place on; far outliers are left to the last one."""
    import numpy as np
    from matplotlib.ticker import MaxNLocator

    high, far = max(values), quantile(values, 0.99)
    high = high if high <= 1.5 * far else 1.05 * far
    low = 0.0 if min(values) < high / 2 else min(values)
    wanted = min(MOST_BINS, max(6, len(values) // 4))
    found = MaxNLocator(wanted, integer=whole(values), steps=[1, 2, 2.5, 5, 10]).tick_values(
        low, high
    )
    return np.append(found, 2 * found[-1] - found[-2]) if high >= found[-1] else found


def whole(values: Sequence[float]) -> bool:
    return all(float(value).is_integer() for value in values)


def draw_series(axis: Any, one: Series, bins: Any) -> None:
    import numpy as np

    kept = np.minimum(np.asarray(one.values, dtype=float), np.nextafter(bins[-1], 0))
    if one.filled:
        axis.hist(kept, bins=bins, color=MINE, alpha=0.85, rwidth=0.92)
    else:
        axis.hist(kept, bins=bins, histtype="step", color=THEIRS, linewidth=1.6)


def draw_medians(axis: Any, series: Sequence[Series]) -> None:
    """A line for each median, with its label in a row of its own above the columns."""
    tallest = axis.get_ylim()[1]
    center = sum(axis.get_xlim()) / 2
    for row, one in enumerate(series, 1):
        middle = quantile(one.values, 0.5)
        height = tallest * (1 + ROW * (len(series) + 1 - row))
        left = middle > center
        color = INK if not one.name else MINE if one.filled else THEIRS
        axis.plot([middle, middle], [0, height], color=INK, linewidth=0.8)
        draw_label(axis, f"{one.name or 'median'} {brief(middle)}", (middle, height), color, left)
    axis.set_ylim(0, tallest * (1 + ROW * len(series)))


def described(one: Series, unit: str) -> str:
    low, middle, high = (quantile(one.values, share) for share in (0.05, 0.5, 0.95))
    who = f"{one.name}: " if one.name else ""
    return (
        f"{who}{len(one.values)} values, median {brief(middle)} {unit}, "
        f"5 % below {brief(low)}, 5 % above {brief(high)}"
    )
