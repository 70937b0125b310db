"""The page over HTTP, for this machine alone.

In: a page, a socket on loopback. Out: it is served until Ctrl-C or SIGTERM. Refused: a port that
cannot be had (Unavailable), other names for this machine in the Host header (400), and, by the
browser, every other origin.
"""

import socket
from collections.abc import Callable
from typing import Any

from demo.look import CSS, theme
from distill.core.errors import Unavailable
from distill.core.ports import port_refused

HOST = "127.0.0.1"
NAMES = [HOST, "localhost"]
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio needs both
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
STOP_S = 1  # for pages that stay open


def listener(port: int) -> socket.socket:
    """A bound socket, before anything heavy is done; Unavailable where it cannot be had."""
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        raise Unavailable(port_refused(error, HOST, port)) from error


class Sealed:
    """Gives every response the headers that keep a page from reaching any other origin."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def sealed(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *extra]}
            await send(message)

        await self._app(scope, receive, sealed)


def application(page: Any) -> Any:
    """The page as an application: no telemetry, no history in the browser, no other door."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=NAMES)
    app.add_middleware(Sealed)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        server_name=HOST,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        pwa=False,
        theme=theme(),
        css=CSS,
    )
    return app


def serve(app: Any, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Answer until a signal; `ready` is called once pages are answered."""
    from distill.core.listening import QuietServer

    server = QuietServer(app, ready, server_header=False, timeout_graceful_shutdown=STOP_S)
    server.run(sockets=[listening])
