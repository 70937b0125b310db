"""One reply on its way to its reader.

In: a generation, its reply and the shape that was asked for. Out: events or one whole answer,
ended in time and counted. A reader who leaves ends the generation within one step; a reply that
takes too long is cut where it is and says `length`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

from fastapi.responses import Response
from starlette.requests import ClientDisconnect, Request

from distill.core.progress import say
from runtime.access import place_of
from runtime.engine import Piece, Reply
from runtime.metrics import Metrics
from runtime.replies import ApiError, Shape, json_response
from runtime.scheduler import Generation, joined


class Turn:
    """A reply with a deadline; `facts` is what the log may say of it."""

    def __init__(
        self,
        generation: Generation,
        reply: Reply,
        shape: Shape,
        metrics: Metrics,
        facts: dict[str, Any],
        started: float,
        reply_s: float,
    ) -> None:
        self.generation = generation
        self._reply, self._shape, self._metrics = reply, shape, metrics
        self._facts, self._started = facts, started
        self._begun = self._late = False
        left_s = max(0.0, started + reply_s - time.monotonic())
        self._timer = asyncio.get_running_loop().call_later(left_s, self._expire)
        if shape.before:
            metrics.guarded.inc()

    def _expire(self) -> None:
        self._late = True
        self.generation.cancel()

    async def whole(self, request: Request) -> Response:
        """The answer in one piece."""
        reading = asyncio.create_task(self._all())
        try:
            await until_gone(request.receive, reading)
        finally:
            self._count()
        return json_response(self._shape.whole(reading.result(), self._reply, self._finish()))

    async def _all(self) -> Piece:
        pieces = [piece async for piece in self._pieces()]
        return joined(pieces) if pieces else Piece("")

    async def events(self) -> AsyncIterator[bytes]:
        """The events of a stream; an error after the first one is an event too."""
        try:
            for opening in self._shape.opening():
                yield opening
            async for piece in self._pieces():
                if piece.text or piece.choices:
                    yield self._shape.piece_event(piece)
            for closing in self._shape.closing(self._reply, self._finish()):
                yield closing
        except ApiError as error:
            yield b"".join(self._shape.broken(error))
        except Exception as error:
            say(f"error: a stream broke off: {place_of(error)}")
            yield b"".join(self._shape.broken(mistake()))
        finally:
            self._count()

    async def _pieces(self) -> AsyncIterator[Piece]:
        async for piece in self.generation.pieces():
            if not self._begun:
                self._metrics.first_token_s.observe(time.monotonic() - self._started)
            self._begun = True
            yield piece

    def _finish(self) -> str:
        if self._reply.finish_reason:
            return self._reply.finish_reason
        if not self._late:
            raise stopping()
        if not self._begun:
            raise too_late()
        return "length"

    def _count(self) -> None:
        self._timer.cancel()
        self.generation.cancel()
        reply = self._reply
        ending = reply.finish_reason or ("late" if self._late else "broken")
        counts = {"prompt": reply.prompt_tokens, "cached": reply.cached_tokens}
        for kind, count in (counts | {"reply": reply.tokens}).items():
            self._metrics.tokens.labels(kind).inc(count)
            self._facts[f"{kind}_tokens"] = count
        self._metrics.endings.labels(ending).inc()
        timings = reply.timings()
        if timings["tokens_per_s"]:
            self._metrics.between_tokens_s.observe(1 / timings["tokens_per_s"])
        self._facts |= {"ending": ending, "first_token_s": round(timings["first_token_s"], 4)}


class EventStream(Response):
    """Sends a turn's events as they come, and ends the turn when the reader leaves."""

    def __init__(self, turn: Turn) -> None:
        super().__init__(media_type="text/event-stream; charset=utf-8")
        self.headers["Cache-Control"] = "no-cache"
        del self.headers["content-length"]
        self._turn = turn

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sending = asyncio.create_task(self._send(send))
        try:
            await until_gone(receive, sending)
        finally:
            self._turn.generation.cancel()

    async def _send(self, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        events = self._turn.events()
        try:
            async for data in events:
                await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            await events.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def until_gone(receive: Callable[[], Any], work: "asyncio.Task[Any]") -> None:
    """Wait for the work, or for the reader to leave, which cancels it (ClientDisconnect)."""
    leaving = asyncio.create_task(gone(receive))
    try:
        await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise ClientDisconnect
        work.result()
    finally:
        for task in (work, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task


async def gone(receive: Callable[[], Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def stopping() -> ApiError:
    return ApiError(503, "the server is stopping; the reply is not complete", code="stopping")


def too_late() -> ApiError:
    return ApiError(
        503, "no token came within the time limit; ask again later", code="time_limit",
        headers={"Retry-After": "5"},
    )  # fmt: skip


def mistake() -> ApiError:
    return ApiError(500, "the server made a mistake; its log says where")
