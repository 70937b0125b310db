"""An HTTP server for one machine: quiet, and ended by a signal as an ordinary end.

In: an ASGI application, and what to do once it answers. Out: a `uvicorn.Server`. Nothing is
refused: sockets are bound by the caller. Import it where a server is started, since uvicorn is no
dependency of core.
"""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


class QuietServer(uvicorn.Server):
    """Calls `ready` once requests are answered, logs nothing, and leaves with exit code 0."""

    def __init__(self, app: Any, ready: Callable[[], None], **options: Any) -> None:
        """`options` are those of `uvicorn.Config`, e.g. `timeout_graceful_shutdown` in seconds."""
        quiet: dict[str, Any] = {"log_config": None, "log_level": "error", "access_log": False}
        super().__init__(uvicorn.Config(app, **quiet, **options))
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM are not raised again at the end; in a thread there are none."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
        yield
