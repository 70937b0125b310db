"""What a served file does as its prompts grow, and what its memory is made of.

In: the rows of `latency.json`. Out: drawings on an axis that somebody else owns, so that the page
(SVG in its own colours) and `latency.png` show the same.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from eval.pages.wording import brief

Rows = Sequence[Mapping[str, Any]]
DASHES = ("-", "--", ":", "-.")
BINS = 24
MEGA = 1e6


def lines_of(rows: Rows, figure: str, scale: float = 1.0) -> dict[int, list[tuple[float, ...]]]:
    """(prompt tokens, median, low, high) by number of threads; rows without the figure are out."""
    found: dict[int, list[tuple[float, ...]]] = {}
    for row in rows:
        if held := row.get(figure):
            middle = held["median"]
            ends = held.get("low", middle), held.get("high", middle)
            values = (scale * value for value in (middle, *ends))
            found.setdefault(row["threads"], []).append((row["length"], *values))
    return found


def gaps_of(held: Mapping[str, Any]) -> list[float]:
    """All times between pieces of the replies to dialogues, in milliseconds."""
    return [gap for reply in held.get("replies") or [] for gap in reply["between_pieces_ms"]]


def memory_of(held: Mapping[str, Any]) -> dict[str, float]:
    """Megabytes by kind; without what the system does not tell."""
    names = {"private": "private_bytes", "file-backed": "file_backed_bytes"}
    return {name: held[key] / MEGA for name, key in names.items() if held.get(key)}


def draw_curves(
    axis: Any, lines: Mapping[int, Sequence[tuple[float, ...]]], unit: str, color: str
) -> None:
    """One line a number of threads, over prompt lengths on a scale of doublings, from zero up."""
    ticks = sorted({point[0] for points in lines.values() for point in points})
    for (threads, points), dash in zip(sorted(lines.items(), reverse=True), DASHES, strict=False):
        places, middles, lows, highs = zip(*points, strict=True)
        around = [
            [middle - low for middle, low in zip(middles, lows, strict=True)],
            [high - middle for middle, high in zip(middles, highs, strict=True)],
        ]
        name = f"{threads} thread{'s' if threads > 1 else ''}"
        style = {"linestyle": dash, "linewidth": 1.6, "marker": "o", "markersize": 4}
        axis.errorbar(
            places, middles, around, color=color, elinewidth=1, capsize=2.5, label=name, **style
        )
    axis.set_xscale("log", base=2)
    axis.set_xticks(ticks, [f"{tick:.0f}" for tick in ticks])
    axis.minorticks_off()
    axis.set_ylim(0, None)
    axis.set(xlabel="tokens of the prompt", ylabel=unit)
    if len(lines) > 1:
        axis.legend(frameon=False, labelcolor="linecolor", handlelength=2.2)


def draw_label(axis: Any, text: str, top: tuple[float, float], color: str, left: bool) -> None:
    """Name a line beside its upper end."""
    axis.annotate(
        text,
        top,
        xytext=(-4 if left else 4, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=color,
    )


def draw_gaps(axis: Any, gaps_ms: Sequence[float], color: str, ink: str) -> None:
    """How often so long passed between two pieces of text; the slowest are in the last column."""
    import numpy as np

    values = np.asarray(gaps_ms, dtype=float)
    far = float(np.quantile(values, 0.995)) * 1.02
    axis.hist(np.minimum(values, far), bins=BINS, range=(0, far), color=color, rwidth=0.92)
    top = axis.get_ylim()[1]
    # The slowest on top: a label to the left of its line crosses no other one.
    for row, (name, share) in enumerate({"p99": 0.99, "p95": 0.95, "p50": 0.5}.items()):
        place, height = float(np.quantile(values, share)), top * (1.36 - 0.12 * row)
        axis.plot([place, place], [0, height], color=ink, linewidth=0.8)
        draw_label(axis, f"{name} {brief(place)}", (place, height), ink, place > 0.3 * far)
    axis.set(xlim=(0, far), ylim=(0, top * 1.36), xlabel="ms between pieces", ylabel="pieces")


def draw_memory(axis: Any, parts: Mapping[str, float], colors: Sequence[str], ink: str) -> None:
    """One bar of megabytes, its parts named above with their sizes."""
    start = 0.0
    for number, ((name, value), color) in enumerate(zip(parts.items(), colors, strict=False)):
        axis.barh(0, value, left=start, height=0.5, color=color)
        last = number == len(parts) - 1
        place = start + value if last else start
        label = f"{name} {brief(value)} MB"
        axis.text(place, 0.36, label, ha="right" if last and number else "left", color=ink)
        start += value
    axis.set(xlim=(0, start), ylim=(-0.4, 0.75), xlabel="MB")
    axis.set_yticks([])
