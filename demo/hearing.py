"""Replies as they are written: asked of a served file over HTTP, heard piece by piece.

In: messages. Out: `Heard` values, each with all that was written so far. Closing the iterator, or
setting its `stop`, closes the connection, and the server then frees the reply's slot. A server
that refuses or is gone ends a reply with `trouble`, in one line.
"""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import httpx

from distill.core.serving import Served

MOST_TOKENS = 256
SHOW_EVERY_S = 0.05  # a page that is told of each token is slower than the model
WAIT_S = httpx.Timeout(120.0, connect=5.0)


@dataclass(frozen=True)
class Heard:
    """One reply so far; times are those of this end of the wire."""

    text: str = ""
    help: str = ""
    guard: dict[str, Any] | None = None
    first_token_s: float | None = None
    tokens: int = 0
    tokens_per_s: float = 0.0
    finish: str | None = None
    trouble: str | None = None

    @property
    def locale(self) -> str:
        """Whose help lines the guard named, where it did."""
        return str((self.guard or {}).get("locale", ""))

    @property
    def ended(self) -> bool:
        return bool(self.finish or self.trouble)


class Ear:
    """Asks servers and hears them; no proxy of the environment is asked on the way.

    Connections are kept for the next reply: a page's as long as the process, else `async with`.
    """

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        """Made when first used, inside the loop that uses it."""
        return httpx.AsyncClient(trust_env=False, timeout=WAIT_S)

    async def reply(
        self, server: Served, messages: Sequence[dict[str, str]], languages: str = ""
    ) -> AsyncGenerator[Heard]:
        """The reply to a conversation, after each of its pieces; `languages` are the reader's."""
        body = {
            "model": server.model,
            "messages": list(messages),
            "max_tokens": MOST_TOKENS,
            "stream": True,
        }
        heard, begun = Heard(), time.perf_counter()
        address = f"{server.url}/chat/completions"
        headers = {"Accept-Language": languages} if languages else None
        try:
            async with self._http.stream("POST", address, json=body, headers=headers) as response:
                if response.is_error:
                    await response.aread()
                    yield replace(heard, trouble=refusal(response))
                    return
                async with aclosing(events(response)) as chunks:
                    async for chunk in chunks:
                        heard = after(heard, chunk, time.perf_counter() - begun)
                        yield heard
        except httpx.HTTPError as error:
            yield replace(heard, trouble=f"the server does not answer ({type(error).__name__})")

    async def memory_bytes(self, server: Served) -> int | None:
        """Resident memory of the serving process, by its own `/metrics`; None where it has none."""
        try:
            page = await self._http.get(f"{server.url.removesuffix('/v1')}/metrics")
        except httpx.HTTPError:
            return None
        for line in page.text.splitlines():
            if line.startswith("process_resident_memory_bytes "):
                return int(float(line.split()[1]))
        return None


async def events(response: httpx.Response) -> AsyncGenerator[dict[str, Any]]:
    async for line in response.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def refusal(response: httpx.Response) -> str:
    """The server's own words; a chat that is too long for it is the common case."""
    try:
        error = response.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"the server answered with status {response.status_code}"
    if error.get("code") == "context_length_exceeded":
        return "this chat is longer than the model can read; start a new one"
    return str(error.get("message"))


def after(heard: Heard, chunk: dict[str, Any], passed_s: float) -> Heard:
    """What is known after one more event of the stream."""
    if "error" in chunk:
        return replace(heard, trouble=str(chunk["error"].get("message")))
    if guard := chunk.get("kindred", {}).get("guard"):
        heard = replace(heard, guard=guard)
    for choice in chunk.get("choices", []):
        if piece := choice["delta"].get("content"):
            heard = with_piece(heard, piece, passed_s)
        if choice["finish_reason"]:
            heard = replace(heard, finish=choice["finish_reason"])
    if timings := chunk.get("timings"):
        counted = {"tokens": timings["tokens"], "tokens_per_s": timings["tokens_per_s"]}
        heard = replace(heard, **counted)
    return heard


def with_piece(heard: Heard, piece: str, passed_s: float) -> Heard:
    """The first piece of a reply whose guard shows a block is that block."""
    if heard.guard and heard.guard.get("shown") and not heard.help:
        return replace(heard, help=piece)
    first_s = passed_s if heard.first_token_s is None else heard.first_token_s
    tokens, decoding_s = heard.tokens + 1, passed_s - first_s
    return replace(
        heard,
        text=heard.text + piece,
        first_token_s=first_s,
        tokens=tokens,
        tokens_per_s=(tokens - 1) / decoding_s if decoding_s > 0 else 0.0,
    )


async def together(
    replies: Sequence[AsyncGenerator[Heard]], stop: asyncio.Event
) -> AsyncGenerator[list[Heard]]:
    """Several replies at once, as a page shows them: the first words at once, then now and then.

    The last value is yielded after every connection is closed.
    """
    latest = [Heard() for _ in replies]
    news = asyncio.Event()

    async def hear(place: int) -> None:
        try:
            async for heard in replies[place]:
                latest[place] = heard
                if heard.text or heard.help:
                    news.set()
        finally:
            news.set()

    tasks = [asyncio.create_task(hear(place)) for place in range(len(replies))]
    stopping = asyncio.create_task(stop.wait())
    try:
        while not (stop.is_set() or all(task.done() for task in tasks)):
            coming = asyncio.create_task(news.wait())
            await asyncio.wait({coming, stopping}, return_when=asyncio.FIRST_COMPLETED)
            coming.cancel()
            news.clear()
            yield list(latest)
            await asyncio.wait({stopping}, timeout=SHOW_EVERY_S)
    finally:
        await closed([stopping, *tasks], replies)
    yield list(latest)


async def closed(
    tasks: "list[asyncio.Task[Any]]", replies: Sequence[AsyncGenerator[Heard]]
) -> None:
    """End the tasks and close their connections; a mistake in one of them is not hidden."""
    for task in tasks:
        task.cancel()
    endings = await asyncio.gather(*tasks, return_exceptions=True)
    for one in replies:
        await one.aclose()
    for ending in endings:
        if isinstance(ending, Exception):
            raise ending
