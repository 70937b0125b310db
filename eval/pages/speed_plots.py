"""The plots of `latency.json` as SVG in the page's colours.

In: its figures. Out: plots of those that are there.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from eval.pages.curves import draw_curves, draw_gaps, draw_memory, gaps_of, lines_of, memory_of
from eval.pages.page import Figure
from eval.pages.plots import EVEN, GRID, INK, MINE, drawing
from eval.pages.wording import brief
from eval.statistics import quantile

CURVES = {
    "first_token_s": ("First token by length of the prompt", 1000.0, "ms"),
    "prefill_tokens_per_s": ("Speed of reading the prompt", 1.0, "tokens/s"),
    "decode_tokens_per_s": ("Speed of writing the reply", 1.0, "tokens/s"),
}


def latency_plots(held: Mapping[str, Any]) -> list[Figure]:
    return [*curves(held), *gaps(held), *memory(held)]


def curves(held: Mapping[str, Any]) -> Iterator[Figure]:
    for key, (title, scale, unit) in CURVES.items():
        lines = lines_of(held.get("lengths") or [], key, scale)
        if not lines:
            continue
        with drawing(f"curve-{key}", 2.4) as (canvas, svg):
            axis = canvas.subplots()
            axis.grid(axis="y", color=GRID, linewidth=0.8)
            axis.set_axisbelow(True)
            draw_curves(axis, lines, unit, MINE)
        yield Figure(title, f"{described(lines, unit)}. Bars are 95 % intervals.", "svg", svg[0])


def described(lines: Mapping[int, list[tuple[float, ...]]], unit: str) -> str:
    told = []
    for threads, points in sorted(lines.items()):
        values = ", ".join(f"{brief(point[1])} at {point[0]:,.0f}" for point in points)
        told.append(f"{threads} thread{'s' if threads > 1 else ''}: {values} tokens of prompt")
    return f"In {unit}. {'; '.join(told)}"


def gaps(held: Mapping[str, Any]) -> Iterator[Figure]:
    every = gaps_of(held)
    if every:
        with drawing("gaps", 2.4) as (canvas, svg):
            draw_gaps(canvas.subplots(), every, MINE, INK)
        shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
        told = ", ".join(f"{name} {brief(quantile(every, at))} ms" for name, at in shares.items())
        said = f"{len(every):,} pieces of replies to dialogues: {told}."
        yield Figure("Between one piece of text and the next", said, "svg", svg[0])


def memory(held: Mapping[str, Any]) -> Iterator[Figure]:
    parts = memory_of(held)
    if len(parts) > 1:
        with drawing("memory", 1.25) as (canvas, svg):
            draw_memory(canvas.subplots(), parts, (MINE, EVEN), INK)
        told = ", ".join(f"{name} {brief(value)} MB" for name, value in parts.items())
        said = f"{told}, each at its own peak. The system may drop what is file-backed."
        yield Figure("What the memory is", said, "svg", svg[0])
