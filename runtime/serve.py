"""Serve a file to OpenAI clients on this machine.

In: a GGUF file. Out: one line with the address once it answers, then replies over HTTP until
Ctrl-C or SIGTERM (exit code 0). Refused: an unusable file, a port in use, an address that other
machines can reach without a key, a device profile that cannot be kept.
"""

import asyncio
import json as json_format
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from distill.core.command import BY_LANGUAGE, DEVICE_PROFILES, GUARD_LOCALES, offered
from distill.core.errors import BadInput
from distill.core.progress import say
from runtime.address import address, bound, require_key_off_loopback
from runtime.guarding.switch import GuardPolicy, GuardSwitch, guard_for
from runtime.limits import Limits

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.guard import Guard

STOP_S = 5  # for readers that were told to stop, and do not
ReadersLocale = Annotated[
    str,
    typer.Option(
        help="Whose help lines are named, e.g. en-US; the default names no country's, and auto "
        "those of the language that a reader's browser asks for.",
        autocompletion=offered(GUARD_LOCALES, BY_LANGUAGE),
    ),
]


@dataclass(frozen=True)
class Answering:
    """How the server answers, beside its engine."""

    host: str
    api_key: str | None
    guard: "Guard | None"
    by_language: bool
    limits: Limits
    origins: tuple[str, ...]
    log: bool
    grace_s: float


def run(
    file: Annotated[Path, typer.Argument(help="A GGUF file or an ONNX folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8080,
    context: Annotated[
        int | None,
        typer.Option(help="Tokens that a chat may hold, reply included; 2048 by default.", min=1),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores.", min=1)
    ] = None,
    parallel: Annotated[
        int | None, typer.Option(help="Replies computed together; 4 by default.", min=1)
    ] = None,
    device_profile: Annotated[
        str | None,
        typer.Option(
            help="Hold to phone-4gb, phone-6gb, phone-8gb, laptop or a YAML file.",
            autocompletion=offered(DEVICE_PROFILES),
        ),
    ] = None,
    queue: Annotated[
        int, typer.Option(help="Requests that may wait while others are answered.", min=0)
    ] = Limits.queue,
    max_body: Annotated[
        int, typer.Option(help="Largest request body, in bytes.", min=1)
    ] = Limits.body_bytes,
    max_messages: Annotated[
        int, typer.Option(help="Most messages of one request.", min=1)
    ] = Limits.messages,
    max_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of one reply; by default the context.", min=1)
    ] = None,
    time_limit: Annotated[
        float, typer.Option(help="Most seconds from a request to its reply's end.", min=0.01)
    ] = Limits.reply_s,
    grace: Annotated[
        float, typer.Option(help="Seconds that running replies have when the server stops.", min=0)
    ] = 5.0,
    api_key: Annotated[
        str | None,
        typer.Option(
            help="Key that clients must send; required when others can reach the address.",
            envvar=["KINDRED_API_KEY", "LLAMA_API_KEY"],
        ),
    ] = None,
    allow_origin: Annotated[
        list[str] | None, typer.Option(help="Origin whose pages may ask; may be repeated.")
    ] = None,
    log: Annotated[
        Literal["none", "json"], typer.Option(help="One line a request, without message text.")
    ] = "none",
    guard: GuardSwitch = "on",
    guard_locale: ReadersLocale = "default",
    guard_policy: GuardPolicy = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the address as one JSON object.")
    ] = False,
) -> None:
    """Serve a file to OpenAI clients on this machine."""
    require_key_off_loopback(host, api_key)
    by_language = guard_locale == BY_LANGUAGE
    answering = Answering(
        host=host,
        api_key=api_key,
        guard=guard_for(guard, "default" if by_language else guard_locale, guard_policy),
        by_language=by_language,
        limits=Limits(
            body_bytes=max_body,
            messages=max_messages,
            tokens=max_tokens,
            reply_s=time_limit,
            queue=queue,
        ),
        origins=origins_of(allow_origin or []),
        log=log == "json",
        grace_s=grace,
    )
    sizes = {"context": context, "threads": threads, "parallel": parallel}
    serve(file, port, {k: v for k, v in sizes.items() if v}, device_profile, answering, json)


def serve(
    file: Path,
    port: int,
    sizes: dict[str, int],
    device_profile: str | None,
    answering: Answering,
    json: bool,
) -> None:
    """Listen, open the file, and answer."""
    from runtime import load

    with bound(answering.host, port) as listener:
        if device_profile:
            sizes = held_to(device_profile, file) | sizes
        with load(file, **sizes) as engine:
            url = address(listener)
            say(f"{engine.name}: {engine.context} tokens of context; Ctrl-C stops the server")
            told = {"url": url, "model": engine.name, "pid": os.getpid()}
            ready = json_format.dumps(told) if json else f"serving {engine.name} at {url}"
            answer(engine, listener, ready, answering)


def held_to(device_profile: str, file: Path) -> dict[str, int]:
    """Cap this process as the profile says; the sizes with which to open the file."""
    from runtime.artifact import check
    from runtime.device import hold_to, read_profile

    profile = read_profile(device_profile)
    check(file)
    hold_to(profile, file)
    say(f"held to {profile.says}: {profile.cores()} threads, {profile.memory_mb} MB")
    return {
        "context": profile.context,
        "threads": profile.cores(),
        "parallel": profile.parallel,
    }


def origins_of(given: list[str]) -> tuple[str, ...]:
    """The origins that may ask, once each names one page's place and not all of them."""
    for origin in given:
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https") or not rest or set(rest) & set("/*? "):
            raise BadInput(f"{origin!r} is no origin; give one like http://localhost:3000")
    return tuple(given)


def answer(engine: "Engine", listener: socket.socket, ready: str, answering: Answering) -> None:
    """Serve until a signal; print `ready` once requests are answered."""
    from distill.core.listening import QuietServer
    from runtime.server import application

    class Server(QuietServer):
        """Lets running replies finish first."""

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await app.finish(answering.grace_s)
            await super().shutdown(sockets)

    app = application(
        engine,
        host=answering.host,
        api_key=answering.api_key,
        guard=answering.guard,
        by_language=answering.by_language,
        limits=answering.limits,
        origins=answering.origins,
        log=answering.log,
    )
    server = Server(
        app,
        lambda: typer.echo(ready),
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
    )
    asyncio.run(server.serve([listener]))
