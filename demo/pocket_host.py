"""A server of one folder on this machine, with the headers that a page needs to use threads.

In: a folder and a port. Out: an HTTP server, bound but not yet serving. It tells no folder's
content, and answers only to names of this machine. Refused: a port that cannot be had
(Unavailable).
"""

import functools
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from distill.core.errors import Unavailable
from distill.core.ports import port_refused

ADDRESS = "127.0.0.1"
NAMES = ("127.0.0.1", "localhost")
HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
OTHERS = {
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "frame-ancestors 'none'",
}


class Files(SimpleHTTPRequestHandler):
    """GET and HEAD of files."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012
        ".css": "text/css; charset=utf-8",
        ".html": "text/html; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".png": "image/png",
        ".svg": "image/svg+xml",
        ".wasm": "application/wasm",
        ".webmanifest": "application/manifest+json",
        "": "application/octet-stream",
    }

    def send_head(self) -> Any:
        # A page elsewhere may point its own name at this machine.
        if self.headers.get("Host", "").partition(":")[0] not in NAMES:
            return self.send_error(HTTPStatus.FORBIDDEN)
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        for name, value in (HEADERS | OTHERS).items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""


def host(folder: Path, port: int) -> ThreadingHTTPServer:
    files = functools.partial(Files, directory=str(folder.resolve()))
    try:
        return ThreadingHTTPServer((ADDRESS, port), files)
    except OSError as error:
        raise Unavailable(port_refused(error, ADDRESS, port)) from error
