"""A stand-in that listens: in a thread for tests, in the foreground for a command.

In: an application and its `Service`. Out: a base URL that answers. Refused: a port in use
(Unavailable).
"""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable
from typing import Self

import typer
from fastapi import FastAPI

from distill.core.errors import Unavailable
from distill.core.listening import QuietServer
from distill.core.ports import port_refused
from distill.dev.service import Service

START_S = 30.0
GRACE_S = 1


class Listener(QuietServer):
    """Releases the requests that it holds when it ends."""

    def __init__(self, app: FastAPI, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(app, ready, timeout_graceful_shutdown=GRACE_S)
        self.service = service

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.service.stopping.set()
        await super().shutdown(sockets)


class Server:
    """`with Server(app, service) as server: server.base_url`; it ends with the block."""

    path = ""

    def __init__(self, app: FastAPI, service: Service, port: int = 0) -> None:
        self.app, self.service, self.port = app, service, port

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    def counts(self) -> dict[str, int]:
        return self.service.shown()

    def __enter__(self) -> Self:
        self.socket, ready = self.bound(), threading.Event()
        self.listener = Listener(self.app, self.service, ready.set)
        self.thread = threading.Thread(target=self.listen, name="stand-in", daemon=True)
        self.thread.start()
        if not ready.wait(START_S):
            raise Unavailable(f"the stand-in on port {self.port} did not start in {START_S:g} s")
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.should_exit = True
        self.thread.join()
        self.socket.close()

    def listen(self) -> None:
        asyncio.run(self.listener.serve([self.socket]))

    def bound(self) -> socket.socket:
        """A listening socket on loopback; port 0 takes a free one."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", self.port))
        except OSError as error:
            listening.close()
            raise Unavailable(port_refused(error, "127.0.0.1", self.port)) from error
        self.port = listening.getsockname()[1]
        return listening

    def serve(self, name: str, as_json: bool) -> None:
        """Listen in the foreground until Ctrl-C or SIGTERM; one line says where."""
        self.socket = self.bound()
        told = {"base_url": self.base_url, "pid": os.getpid()}
        line = json.dumps(told) if as_json else f"{name} at {self.base_url}"
        self.listener = Listener(self.app, self.service, lambda: typer.echo(line))
        with self.socket:
            self.listen()
