"""The OpenAI-compatible application around one engine.

In: an open engine. Out: an ASGI application with `/v1/chat/completions`, `/v1/completions`,
`/v1/responses`, `/v1/models`, `/health`, `/metrics` and `/openapi.json`. Refused, in OpenAI's error
shape: everything that `request.py` refuses, another model's name, a prompt that does not fit, and
requests beyond the limits (413, 429 with Retry-After).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from distill.core.errors import KindredError
from runtime import logs
from runtime.access import Access
from runtime.completions import CompletionRequest
from runtime.engine import Engine, PromptTooLong, Reply
from runtime.guard import Guard
from runtime.guarding.languages import speaking
from runtime.limits import Limits
from runtime.metrics import CONTENT_TYPE, Metrics
from runtime.replies import ApiError, Shape
from runtime.request import Asked, ChatRequest, read_request
from runtime.responses import ResponsesRequest
from runtime.scheduler import Generation, QueueFull, Scheduler
from runtime.server_schema import described
from runtime.server_turn import EventStream, Turn, mistake, stopping

KINDS: Mapping[str, type[Asked]] = {
    "/v1/chat/completions": ChatRequest,
    "/v1/completions": CompletionRequest,
    "/v1/responses": ResponsesRequest,
}


class Chats:
    """The handlers of one engine's server."""

    def __init__(
        self,
        engine: Engine,
        scheduler: Scheduler,
        guard: Guard | None,
        limits: Limits,
        metrics: Metrics,
        by_language: bool,
    ) -> None:
        self._engine, self._scheduler, self._guard = engine, scheduler, guard
        self._limits, self._metrics, self._by_language = limits, metrics, by_language
        self._created = int(time.time())

    async def answer(self, request: Request) -> Response:
        """POST: a reply in the protocol of the route."""
        started = time.monotonic()
        body = await read_body(request, self._limits)
        asked = read_request(body, KINDS[request.scope["path"]])
        self._require_model(asked.model)
        self._require_within_limits(asked)
        generation, guard = Generation(), self._guard_for(request)
        try:
            self._scheduler.require_room()
            reply, shape = await asyncio.to_thread(self._prepare, asked, generation, guard)
            self._scheduler.admit(generation, reply)
        except QueueFull as full:
            headers = {"Retry-After": str(full.retry_after_s)}
            raise ApiError(429, str(full), code="queue_full", headers=headers) from full
        except PromptTooLong as error:
            raise ApiError(400, str(error), "messages", "context_length_exceeded") from error
        except KindredError as error:
            raise ApiError(400, str(error), None, "invalid_value") from error
        facts = request.scope["state"]["facts"]
        turn = Turn(
            generation, reply, shape, self._metrics, facts, started, self._limits.reply_s
        )  # fmt: skip
        return EventStream(turn) if asked.stream else await turn.whole(request)

    def _guard_for(self, request: Request) -> Guard | None:
        """The guard, with the help lines of the reader's country where that was asked for."""
        if self._guard and self._by_language:
            return speaking(self._guard, request.headers.get("accept-language", ""))
        return self._guard

    def _prepare(
        self, asked: Asked, generation: Generation, guard: Guard | None
    ) -> tuple[Reply, Shape]:
        options = asked.options() | {"max_tokens": asked.limit() or self._limits.tokens}
        prompt = asked.prompted(guard)
        reply = self._engine.chat(prompt, cancelled=generation.cancelled, **options)
        # Only now: what fits the context is never too long for the guard.
        checked = guard.check_conversation(asked.said()) if guard else None
        return reply, asked.shape(self._engine.name, checked)

    def _require_model(self, name: str) -> None:
        if name != self._engine.name:
            raise ApiError(
                404,
                f"there is no model {name[:100]!r} here; this server has {self._engine.name!r}",
                "model",
                "model_not_found",
            )

    def _require_within_limits(self, asked: Asked) -> None:
        count = len(asked.said())
        if count > self._limits.messages:
            raise ApiError(
                400,
                f"there are {count} messages; at most {self._limits.messages} are read",
                "messages",
                "too_many_messages",
            )
        most, wanted = self._limits.tokens, asked.limit()
        if most and wanted and wanted > most:
            message = f"a reply of {wanted} tokens is asked for; at most {most} are given here"
            raise ApiError(400, message, "max_tokens", "invalid_value")

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

    async def metrics(self) -> Response:
        """GET /metrics."""
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body, once its type and size are acceptable.

    Only application/json: a browser lets any page send other types to this machine unasked.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise ApiError(415, f"the content type is {kind[:100]!r}; send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_s):
            async for part in request.stream():
                body += part
                if len(body) > limits.body_bytes:
                    raise ApiError(413, f"the body is larger than {limits.body_bytes} bytes")
    except TimeoutError as error:
        raise ApiError(408, f"the body did not arrive within {limits.body_s:g} s") from error
    return bytes(body)


class Application(Access):
    """The server of one engine, as an ASGI application that can be told to stop."""

    def __init__(self, scheduler: Scheduler, *given: Any, **options: Any) -> None:
        super().__init__(*given, **options)
        self._scheduler = scheduler
        self.draining = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.draining and scope["type"] == "http":
            await stopping().response()(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def stop(self) -> None:
        """Cut what is being answered; each reader is told."""
        self._scheduler.stop()

    async def finish(self, grace_s: float) -> None:
        """Admit nothing more, wait for running replies, and cut those that take too long."""
        self.draining = True
        end = time.monotonic() + grace_s
        while self._scheduler.active() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        self.stop()


def application(
    engine: Engine,
    *,
    host: str,
    api_key: str | None = None,
    guard: Guard | None,
    by_language: bool = False,
    limits: Limits = Limits(),
    origins: tuple[str, ...] = (),
    log: bool = False,
) -> Application:
    """The ASGI application; with `log` every answer is one JSON line on standard error.

    With `by_language` the guard names the help lines of a request's `Accept-Language`.
    """
    scheduler = Scheduler(limits.queue, engine.parallel)
    metrics = Metrics(scheduler.active)
    chats = Chats(engine, scheduler, guard, limits, metrics, by_language)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        scheduler.stop()

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url="/openapi.json")
    for route, kind in KINDS.items():
        app.post(route, response_model=None, name=kind.__name__)(chats.answer)
    app.get("/v1/models", response_model=None)(chats.models)
    app.get("/v1/models/{name:path}", response_model=None)(chats.model)
    app.get("/health", response_model=None)(chats.health)
    app.get("/metrics", response_model=None)(chats.metrics)
    app.openapi = described(KINDS, engine.name)  # type: ignore[method-assign]
    answer_errors(app)

    def report(path: str, method: str, status: int, took_s: float, facts: Any) -> None:
        route = logs.route_of(path)
        metrics.requests.labels(route, str(status)).inc()
        if log:
            logs.write(route, method, status, took_s, facts)

    return Application(
        scheduler, app, host=host, api_key=api_key, origins=origins, report=report
    )  # fmt: skip


def answer_errors(app: FastAPI) -> None:
    """Every error in OpenAI's shape."""

    @app.exception_handler(HTTPException)
    async def no_such_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.scope['path'][:100]}: {error.detail}"
        headers = dict(error.headers) if error.headers else None
        return ApiError(error.status_code, message, headers=headers).response()

    @app.exception_handler(Exception)
    async def mistaken(request: Request, error: Exception) -> Response:
        return mistake().response()

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return error.response()
