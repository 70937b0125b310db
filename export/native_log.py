"""llama.cpp's log lines: kept while a call runs, shown only when asked for.

In: KINDRED_NATIVE_LOG in the environment shows them. Out: the list of lines of one call.
"""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import llama_cpp

SHOW = "KINDRED_NATIVE_LOG"


@contextmanager
def captured(heard: Callable[[str], object] | None = None) -> Iterator[list[str]]:
    """Collect what llama.cpp logs inside the block, and pass each line to `heard` at once.

    Whoever listened before listens again.
    """
    lines: list[str] = []
    show = bool(os.environ.get(SHOW))

    def listen(level: int, text: bytes, user_data: object) -> None:
        line = text.decode("utf-8", "replace")
        lines.append(line)
        if heard:
            heard(line)
        if show:
            sys.stderr.write(line)

    listener = llama_cpp.llama_log_callback(listen)
    before, data = llama_cpp.llama_log_callback(), ctypes.c_void_p()
    llama_cpp.llama_log_get(ctypes.byref(before), ctypes.byref(data))
    llama_cpp.llama_log_set(listener, ctypes.c_void_p(0))
    try:
        yield lines
    finally:
        llama_cpp.llama_log_set(before, data)


def reason(lines: list[str]) -> str:
    """The last line that says something, for an error of our own."""
    spoken = [line.strip() for line in lines if len(line.strip()) > 1]
    return spoken[-1] if spoken else "llama.cpp gave no reason"
