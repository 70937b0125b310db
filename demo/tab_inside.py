"""The tab *Inside*: what the open file was distilled from, and what was measured of it.

In: an exported file. Out: components inside the page that is being built; nothing is asked of a
server, and what is missing is said.
"""

from pathlib import Path

import gradio as gr

from demo.story import first_tokens_ms, markdown, recipe, story

BINS = 24


def inside_tab(file: Path) -> None:
    """Build the tab from the manifest and the folder of the run."""
    for section in story(file):
        gr.Markdown(markdown(section), elem_classes="inside")
    times = first_tokens_ms(file)
    if times:
        latency_plot(times)
    else:
        gr.Markdown(
            "No latency plot: no replies of this very file were measured; measure them with: "
            "`distill eval latency`."
        )
    if text := recipe(file):
        with gr.Accordion("The recipe, as it was run", open=False):
            gr.Markdown(f"```yaml\n{text}\n```")


def latency_plot(times_ms: list[float]) -> None:
    """How the held-out replies spread over the time to their first token."""
    import pandas as pd

    gr.BarPlot(
        pd.DataFrame({"first token, ms": times_ms, "replies": 1}),
        x="first token, ms",
        y="replies",
        x_bin=max(1.0, round(max(times_ms) / BINS)),
        y_aggregate="sum",
        title=f"First tokens of {len(times_ms)} replies",
        height=220,
    )
