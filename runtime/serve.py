"""Serve a file to OpenAI clients on this machine.

In: a GGUF file. Out: one line with the address once it answers, then replies over HTTP until
Ctrl-C or SIGTERM (exit code 0). Refused: an unusable file, a port in use, an address that other
machines can reach without a key.
"""

import asyncio
import json as json_format
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from distill.core.progress import say
from runtime.address import address, bound, require_key_off_loopback
from runtime.guarding.switch import GuardLocale, GuardPolicy, GuardSwitch, guard_for

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.guard import Guard

GRACE_S = 5


def run(
    file: Annotated[Path, typer.Argument(help="A GGUF file.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8080,
    context: Annotated[
        int, typer.Option(help="Tokens that a chat may hold, reply included.", min=1)
    ] = 2048,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores.", min=1)
    ] = None,
    queue: Annotated[
        int, typer.Option(help="Chats that may wait while one is answered.", min=0)
    ] = 16,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Key that clients must send; required when others can reach the address.",
            envvar=["KINDRED_API_KEY", "LLAMA_API_KEY"],
        ),
    ] = None,
    guard: GuardSwitch = "on",
    guard_locale: GuardLocale = "default",
    guard_policy: GuardPolicy = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the address as one JSON object.")
    ] = False,
) -> None:
    """Serve a file to OpenAI clients on this machine."""
    from runtime import load

    require_key_off_loopback(host, api_key)
    watching = guard_for(guard, guard_locale, guard_policy)
    with bound(host, port) as listener, load(file, context=context, threads=threads) as engine:
        url = address(listener)
        say(f"{engine.name}: {engine.context} tokens of context; Ctrl-C stops the server")
        ready = (
            json_format.dumps({"url": url, "model": engine.name, "pid": os.getpid()})
            if json
            else f"serving {engine.name} at {url}"
        )
        answer(engine, listener, ready, host=host, api_key=api_key, queue=queue, guard=watching)


def answer(
    engine: "Engine",
    listener: socket.socket,
    ready: str,
    *,
    host: str,
    api_key: str | None,
    queue: int,
    guard: "Guard | None",
) -> None:
    """Serve until a signal; print `ready` once requests are answered."""
    import uvicorn

    from runtime.server import application

    class Server(uvicorn.Server):
        """Tells when it is ready, and leaves with exit code 0 on a signal."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            typer.echo(ready)

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            app.stop()
            await super().shutdown(sockets)

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self.handle_exit)
            yield

    app = application(engine, host=host, api_key=api_key, queue=queue, guard=guard)
    config = uvicorn.Config(
        app,
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    asyncio.run(Server(config).serve([listener]))
