"""`latency.png`: the figures of one file in four panels, for a mail or a pull request.

In: the figures of `latency.json`. Out: a PNG. The report draws the same as SVG.
"""

import io
from collections.abc import Mapping
from typing import Any

from eval.pages.curves import draw_curves, draw_gaps, gaps_of, lines_of

INK, MINE = "#1d2022", "#1c6b66"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "text.parse_math": False,
}


def drawn(data: Mapping[str, Any]) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 6.2), dpi=120, layout="constrained")
        figure.suptitle(heading(data), fontsize=11)
        first, prefill, decode, gaps = figure.subplots(2, 2).flat
        panels = {
            "First token": (first, "first_token_s", 1000.0, "ms"),
            "Speed of reading the prompt": (prefill, "prefill_tokens_per_s", 1.0, "tokens/s"),
            "Speed of writing the reply": (decode, "decode_tokens_per_s", 1.0, "tokens/s"),
        }
        for title, (axis, key, scale, unit) in panels.items():
            axis.set_title(title)
            if lines := lines_of(data["lengths"], key, scale):
                draw_curves(axis, lines, unit, MINE)
            else:
                nothing(axis)
        gaps.set_title("Between pieces of text, replies to dialogues")
        if every := gaps_of(data):
            draw_gaps(gaps, every, MINE, INK)
        else:
            nothing(gaps)
        raw = io.BytesIO()
        figure.savefig(raw, format="png", metadata={"Software": None})
    return raw.getvalue()


def nothing(axis: Any) -> None:
    axis.text(0.5, 0.5, "not measured", ha="center", transform=axis.transAxes)
    axis.set_axis_off()


def heading(data: Mapping[str, Any]) -> str:
    name = str(data["file"]).rsplit("/", 1)[-1]
    held = f", held to {data['profile']}" if data["profile"] else ""
    return f"{name}{held}, {data['threads']} threads, {data['machine']['processor']}"
