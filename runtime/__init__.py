"""Run a student's file on this machine: `runtime.load(FILE).chat(messages)`. No torch."""

from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from runtime.engine import Engine

__all__ = ["load"]


def load(
    path: str | PathLike[str],
    *,
    context: int = 2048,
    threads: int | None = None,
    parallel: int = 4,
    cells: int | None = None,
) -> "Engine":
    """Open a GGUF file for chatting.

    `context` is cut to what the model was trained for; `threads` defaults to the physical cores
    that this process may use. At most `parallel` replies are computed together. All chats share
    a cache of `cells` tokens, by default as many as one chat may hold. Refused: a file that is
    missing, is no GGUF, differs from its manifest, or carries no chat template.
    """
    from pathlib import Path

    from runtime.engine import open_engine

    return open_engine(Path(path), context=context, threads=threads, parallel=parallel, cells=cells)
