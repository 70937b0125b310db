"""Gradio, imported in half the time.

In: nothing. Out: Gradio is imported, with its telemetry off.
"""

import inspect
import os
from typing import Any


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
    try:
        import gradio  # noqa: F401
    finally:
        inspect.getfile = find
