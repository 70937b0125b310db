"""OpenAI's chat completions and models, as a stand-in.

In: POST /v1/chat/completions, GET /v1/models. Out: completions, whole or as server-sent events.
Refused, in OpenAI's error shape: a wrong key, a model that is not offered, messages that cannot
be read; and whatever the faults ask for.
"""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from distill.dev.answers import Asked, pieces
from distill.dev.faults import Failure
from distill.dev.service import Given, Service
from distill.dev.wire import WireError, digest_of, read_object

FINISH = {"stop": "stop", "length": "length", "blocked": "content_filter", "empty": "stop"}
HOW_TO_SEND = ("stream", "stream_options")
KINDS = {
    401: "authentication_error",
    404: "invalid_request_error",
    429: "rate_limit_error",
    500: "server_error",
    504: "server_error",
}


@dataclass
class OpenAIChats:
    """The handlers of chat completions and models."""

    service: Service

    def routes(self, app: FastAPI) -> None:
        app.add_exception_handler(WireError, shown_error)
        app.add_api_route("/v1/chat/completions", self.complete, methods=["POST"])
        app.add_api_route("/v1/models", self.models, methods=["GET"])
        app.add_api_route("/counts", self.counts, methods=["GET"])

    async def complete(self, request: Request) -> Response:
        self.require_key(request)
        body = await read_object(request)
        asked = self.read(body)
        given = await self.service.ask(asked, request)
        if not isinstance(given, Given):
            raise failure_of(given, self.service.faults.retry_after_ms)
        if body.get("stream"):
            counted = bool((body.get("stream_options") or {}).get("include_usage"))
            return StreamingResponse(stream(asked, given, counted), media_type="text/event-stream")
        return JSONResponse(completion(asked, given))

    async def models(self, request: Request) -> Response:
        self.require_key(request)
        names = self.service.models or ("gpt-4o", "gpt-4o-mini")
        rows = [model_row(name) for name in names]
        return JSONResponse({"object": "list", "data": rows})

    async def trouble(self, request: Request) -> None:
        """What may befall a request for files and batches before it is read."""
        call = f"{request.method} {request.url.path}"
        failed = await self.service.trouble(call, self.service.attempt(call), request)
        if failed:
            raise failure_of(failed, self.service.faults.retry_after_ms)

    async def counts(self) -> dict[str, int]:
        return self.service.shown()

    def require_key(self, request: Request) -> None:
        sent = request.headers.get("authorization", "")
        if self.service.key is not None and sent != f"Bearer {self.service.key}":
            raise WireError(401, "Incorrect API key provided.", "invalid_api_key")

    def read(self, body: Mapping[str, Any]) -> Asked:
        """A request in plain terms; its digest leaves out how the answer is to be sent."""
        model, messages = body.get("model"), body.get("messages")
        if not isinstance(model, str) or not model:
            raise WireError(400, "you must provide a model parameter")
        if self.service.models and model not in self.service.models:
            raise WireError(404, f"The model `{model}` does not exist", "model_not_found")
        if not isinstance(messages, list) or not messages:
            raise WireError(400, "messages is empty or no list")
        limit = body.get("max_completion_tokens", body.get("max_tokens"))
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise WireError(400, f"max_tokens is {limit!r}; it is a count of at least 1")
        if body.get("n", 1) != 1:
            raise WireError(400, "this stand-in gives one choice; leave n out")
        form = (body.get("response_format") or {}).get("json_schema") or {}
        digest = digest_of({k: v for k, v in body.items() if k not in HOW_TO_SEND})
        texts = [text_of(message) for message in messages]
        return Asked(model, texts, digest, limit, form.get("schema"))


def text_of(message: Any) -> str:
    """A message's text; parts of another kind than text are refused."""
    if not isinstance(message, dict) or "role" not in message:
        raise WireError(400, "each message is an object with a role and a content")
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", "") for part in content if isinstance(part, dict))
    if not isinstance(content, str):
        raise WireError(400, "the content of a message is text")
    return content


def completion(asked: Asked, given: Given) -> dict[str, Any]:
    message = {"role": "assistant", "content": given.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None}
    choice["finish_reason"] = FINISH[given.ending]
    return {**head(asked, "chat.completion"), "choices": [choice], "usage": usage(given)}


def stream(asked: Asked, given: Given, counted: bool) -> Iterator[str]:
    """Server-sent events: the role, one piece each, the end, the counts when asked for."""
    first = head(asked, "chat.completion.chunk")
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": piece} for piece in pieces(given.text)]
    ends: list[str | None] = [None] * len(deltas)
    for delta, finish in zip([*deltas, {}], [*ends, FINISH[given.ending]], strict=True):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield event({**first, "choices": [choice]})
    if counted:
        yield event({**first, "choices": [], "usage": usage(given)})
    yield "data: [DONE]\n\n"


def event(value: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(value, ensure_ascii=False)}\n\n"


def head(asked: Asked, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{asked.digest[:24]}",
        "object": kind,
        "created": int(time.time()),
        "model": f"{asked.model}-stand-in",
    }


def usage(given: Given) -> dict[str, int]:
    return {
        "prompt_tokens": given.prompt_tokens,
        "completion_tokens": given.tokens,
        "total_tokens": given.prompt_tokens + given.tokens,
    }


def model_row(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "stand-in"}


def failure_of(failure: Failure, retry_after_ms: int) -> WireError:
    if failure == "http_429":
        wait = {
            "retry-after-ms": str(retry_after_ms),
            "retry-after": str(-(-retry_after_ms // 1000)),
        }
        return WireError(429, "Rate limit reached (injected).", "rate_limit_exceeded", wait)
    if failure == "http_500":
        # A real 500 names no time to wait; a stand-in may, so that tests need not.
        wait = {"retry-after-ms": str(retry_after_ms)}
        return WireError(500, "The server had an error (injected).", None, wait)
    return WireError(504, "The stand-in held this request and stops.")


async def shown_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    kind = KINDS.get(error.status, "invalid_request_error")
    body = {"message": error.message, "type": kind, "param": None, "code": error.code}
    return JSONResponse({"error": body}, error.status, error.headers)
