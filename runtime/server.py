"""The OpenAI-compatible application around one engine.

In: an open engine. Out: an ASGI application with `/v1/chat/completions`, `/v1/models` and
`/health`. Refused, in OpenAI's error shape: everything that `request.py` refuses, another model's
name, a prompt that does not fit, and requests beyond the queue (429 with Retry-After).
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

from distill.core.errors import KindredError
from distill.core.progress import say
from runtime.access import Access, place_of
from runtime.engine import Engine, PromptTooLong, Reply
from runtime.guard import Checked, Guard
from runtime.replies import DONE, ApiError, Completion, event, json_response
from runtime.request import ChatRequest, read_request
from runtime.scheduler import Generation, QueueFull, Scheduler

MAX_BODY_BYTES = 1024 * 1024


class EventStream(StreamingResponse):
    """A stream that cancels its generation however it ends, also before it began."""

    def __init__(self, content: AsyncIterator[bytes], generation: Generation) -> None:
        super().__init__(content, media_type="text/event-stream; charset=utf-8")
        self.headers["Cache-Control"] = "no-cache"
        self._generation = generation

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._generation.cancel()


class Chats:
    """The handlers of one engine's server."""

    def __init__(self, engine: Engine, scheduler: Scheduler, guard: Guard | None) -> None:
        self._engine = engine
        self._guard = guard
        self._scheduler = scheduler
        self._created = int(time.time())

    async def complete(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        asked = read_request(await read_body(request))
        self._require_model(asked.model)
        generation = Generation()
        try:
            self._scheduler.require_room()
            reply, checked = await asyncio.to_thread(self._prepare, asked, generation)
            self._scheduler.admit(generation, reply)
        except QueueFull as full:
            headers = {"Retry-After": str(full.retry_after_s)}
            raise ApiError(429, str(full), code="queue_full", headers=headers) from full
        except PromptTooLong as error:
            raise ApiError(400, str(error), "messages", "context_length_exceeded") from error
        except KindredError as error:
            raise ApiError(400, str(error), "messages", "invalid_value") from error
        completion = Completion(self._engine.name, asked.include_usage(), checked)
        if asked.stream:
            return EventStream(stream(generation, reply, completion), generation)
        return await self._whole(request, generation, reply, completion)

    def _prepare(self, asked: ChatRequest, generation: Generation) -> tuple[Reply, Checked | None]:
        messages = [message.plain() for message in asked.messages]
        said = self._guard.without_blocks(messages) if self._guard else messages
        reply = self._engine.chat(said, cancelled=generation.cancelled, **asked.options())
        # Only now: what fits the context is never too long for the guard.
        return reply, self._guard.check_conversation(messages) if self._guard else None

    async def _whole(
        self, request: Request, generation: Generation, reply: Reply, completion: Completion
    ) -> Response:
        watcher = asyncio.create_task(cancel_when_gone(request, generation))
        try:
            text = "".join([piece.text async for piece in generation.pieces()])
        finally:
            generation.cancel()
            watcher.cancel()
        if reply.finish_reason is None:
            raise stopping()
        return json_response(completion.whole(text, reply))

    def _require_model(self, name: str) -> None:
        if name != self._engine.name:
            raise ApiError(
                404,
                f"there is no model {name!r} here; this server has {self._engine.name!r}",
                "model",
                "model_not_found",
            )

    def _card(self) -> dict[str, Any]:
        return {
            "id": self._engine.name,
            "object": "model",
            "created": self._created,
            "owned_by": "kindred",
            "context": self._engine.context,
        }

    async def models(self) -> dict[str, Any]:
        """GET /v1/models."""
        return {"object": "list", "data": [self._card()]}

    async def model(self, name: str) -> dict[str, Any]:
        """GET /v1/models/{name}."""
        self._require_model(name)
        return self._card()

    async def health(self) -> dict[str, str]:
        """GET /health."""
        return {"status": "ok"}


async def stream(
    generation: Generation, reply: Reply, completion: Completion
) -> AsyncIterator[bytes]:
    """The events of one reply; an error after the first one is an event too."""
    try:
        for opening in completion.opening():
            yield opening
        async for piece in generation.pieces():
            if piece.text:
                yield completion.text_event(piece.text)
        if reply.finish_reason is None:
            raise stopping()
        for chunk in completion.closing(reply):
            yield event(chunk)
        yield DONE
    except ApiError as error:
        yield event(error.body())
    except Exception as error:
        say(f"error: a stream broke off: {place_of(error)}")
        yield event(mistake().body())


def stopping() -> ApiError:
    return ApiError(503, "the server is stopping; the reply is not complete", code="stopping")


def mistake() -> ApiError:
    return ApiError(500, "the server made a mistake; its log says where")


async def cancel_when_gone(request: Request, generation: Generation) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    generation.cancel()


async def read_body(request: Request) -> bytes:
    """The body, once its type and size are acceptable.

    Only application/json: a browser lets any page send other types to this machine unasked.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"the content type is {kind!r}; send application/json")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise ApiError(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def application(
    engine: Engine, *, host: str, api_key: str | None, queue: int, guard: Guard | None
) -> Access:
    """The ASGI application; `queue` chats may wait while one is answered."""
    scheduler = Scheduler(queue)
    chats = Chats(engine, scheduler, guard)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        scheduler.close()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.post("/v1/chat/completions", response_model=None)(chats.complete)
    app.get("/v1/models", response_model=None)(chats.models)
    app.get("/v1/models/{name:path}", response_model=None)(chats.model)
    app.get("/health", response_model=None)(chats.health)

    @app.exception_handler(HTTPException)
    async def no_such_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.scope['path']}: {error.detail}"
        headers = dict(error.headers) if error.headers else None
        return ApiError(error.status_code, message, headers=headers).response()

    @app.exception_handler(Exception)
    async def mistaken(request: Request, error: Exception) -> Response:
        return mistake().response()

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return error.response()

    return Access(app, host=host, api_key=api_key, stop=scheduler.stop)
