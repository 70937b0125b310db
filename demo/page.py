"""The page of `distill demo chat`: three tabs on files that are served.

In: served files. Out: a Gradio page that is not launched yet. Nothing is refused.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demo.ballot import Candidate
from demo.gradio_touches import import_gradio, rest_when_idle
from distill.core.serving import Served


@dataclass(frozen=True)
class Opened:
    """A file, how it is called on the page, and where it is served."""

    file: Path
    candidate: Candidate
    server: Served


def page(files: list[Opened], votes: Path) -> Any:
    """The blocks of the page: *Chat* and *Inside* are about the first file."""
    import_gradio()
    import gradio as gr

    from demo.hearing import Ear
    from demo.tab_chat import ChatTab
    from demo.tab_compare import ONE_FILE, CompareTab, Contest
    from demo.tab_inside import inside_tab

    ear, first = Ear(), files[0]
    contest = None
    if len(files) == 2:
        one, two = files
        contest = Contest((one.server, two.server), (one.candidate, two.candidate), votes)
    with gr.Blocks(title=f"Kindred: {first.candidate.name}", analytics_enabled=False) as blocks:
        gr.Markdown(
            f"# Kindred · {first.candidate.name}\nOn this machine: nothing you type leaves it or "
            "is stored. A small model is no counsellor."
        )
        tabs: list[Any] = []
        with gr.Tab("Chat"):
            tabs.append(ChatTab(first.server, ear))
        with gr.Tab("Compare"):
            if contest:
                tabs.append(CompareTab(contest, ear))
            else:
                gr.Markdown(ONE_FILE)
        with gr.Tab("Inside"):
            inside_tab(first.file)

        async def gone(request: gr.Request) -> None:
            for tab in tabs:
                tab.desk.forget(request)

        blocks.unload(gone)
    rest_when_idle(blocks)
    return blocks
