"""The two places where Gradio's inside is touched: its import, and how it waits.

In: nothing, or a page. Out: Gradio is imported in half the time, with its telemetry off; a page
that rests while nobody asks for anything. Nothing is refused: a Gradio that has changed there
starts slowly and waits restlessly, and `tests/demo/test_gradio_touches.py` fails.
"""

import gc
import inspect
import os
from typing import Any

IDLE_S = 0.005  # Gradio's own is 0.001: a fourteenth of a core for looking at an empty queue


def import_gradio() -> None:
    """Import Gradio without the stub files that it compares with its sources at each start.

    It leaves them alone where a class has no file, so its own classes have none meanwhile.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    find = inspect.getfile

    def find_others(thing: Any) -> str:
        if str(getattr(thing, "__module__", "")).startswith("gradio."):
            raise OSError("not looked for")
        return find(thing)

    inspect.getfile = find_others  # type: ignore[assignment]
    gc.disable()  # an import leaves no garbage, and looking for it is a tenth of this one
    try:
        import gradio  # noqa: F401
    finally:
        gc.enable()
        inspect.getfile = find


def rest_when_idle(blocks: Any) -> None:
    """Look for work two hundred times a second; there is no public name for it."""
    queue: Any = getattr(blocks, "_queue", None)
    if hasattr(queue, "sleep_when_free"):
        queue.sleep_when_free = IDLE_S
