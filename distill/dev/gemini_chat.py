"""Gemini's generateContent and models, as a stand-in.

In: POST /{version}/models/MODEL:generateContent, :streamGenerateContent, :countTokens; GET
/{version}/models. Out: candidates, whole or as server-sent events; a block comes as prompt
feedback or as a candidate without content, as the real service has both.
Refused, in Google's error shape: a wrong key, a model that is not offered, contents that cannot be
read; and whatever the faults ask for.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from distill.dev.answers import Asked, number, pieces
from distill.dev.faults import Failure
from distill.dev.service import Given, Service
from distill.dev.wire import WireError, digest_of, either, read_object

STATUSES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    504: "DEADLINE_EXCEEDED",
}
FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "blocked": "SAFETY", "empty": "STOP"}
RETRY_INFO = "type.googleapis.com/google.rpc.RetryInfo"
OFFERED = ("gemini-2.5-flash", "gemini-2.5-pro")


@dataclass
class GeminiChats:
    """The handlers of one model's calls."""

    service: Service

    def routes(self, app: FastAPI) -> None:
        app.add_exception_handler(WireError, shown_error)
        app.add_api_route("/{version}/models", self.models, methods=["GET"])
        app.add_api_route("/counts", self.counts, methods=["GET"])

    async def generate(self, request: Request, model: str, stream: bool) -> Response:
        self.require_key(request)
        asked = self.read(model, await read_object(request))
        given = await self.service.ask(asked, request)
        if not isinstance(given, Given):
            raise failure_of(given, self.service.faults.retry_after_ms)
        if not stream:
            return JSONResponse(whole(asked, given))
        if request.query_params.get("alt") != "sse":
            return JSONResponse(list(chunks(asked, given)))
        events = (f"data: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks(asked, given))
        return StreamingResponse(events, media_type="text/event-stream")

    async def count(self, request: Request, model: str) -> Response:
        self.require_key(request)
        asked = self.read(model, await read_object(request))
        return JSONResponse({"totalTokens": asked.prompt_tokens})

    async def models(self, request: Request) -> Response:
        self.require_key(request)
        names = self.service.models or OFFERED
        rows = [{"name": f"models/{name}", "displayName": name} for name in names]
        return JSONResponse({"models": rows})

    async def trouble(self, request: Request) -> None:
        """What may befall a request for files and batches before it is read."""
        call = f"{request.method} {request.url.path}"
        if "/models/" in call:
            return
        failed = await self.service.trouble(call, self.service.attempt(call), request)
        if failed:
            raise failure_of(failed, self.service.faults.retry_after_ms)

    async def counts(self) -> dict[str, int]:
        return self.service.shown()

    def require_key(self, request: Request) -> None:
        sent = request.headers.get("x-goog-api-key") or request.query_params.get("key")
        if self.service.key is not None and sent != self.service.key:
            raise WireError(400, "API key not valid. Please pass a valid API key.")

    def read(self, model: str, body: Mapping[str, Any]) -> Asked:
        """A request in plain terms; batch files may spell their keys either way."""
        self.require_model(model)
        contents = body.get("contents")
        if not isinstance(contents, list) or not contents:
            raise WireError(400, "contents is not specified")
        system = either(body, "systemInstruction")
        config = either(body, "generationConfig") or {}
        texts = [text_of(content) for content in ([system] if system else []) + contents]
        schema = either(config, "responseJsonSchema") or either(config, "responseSchema")
        limit = either(config, "maxOutputTokens")
        if limit is not None and (not isinstance(limit, int) or limit < 1):
            raise WireError(400, f"max_output_tokens is {limit!r}; it must be positive")
        return Asked(model, texts, digest_of([model, texts, config]), limit, schema)

    def require_model(self, model: str) -> None:
        if self.service.models and model not in self.service.models:
            raise WireError(404, f"models/{model} is not found for this API version")


def text_of(content: Any) -> str:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list):
        raise WireError(400, "each of the contents is an object with parts")
    found = [part.get("text") for part in parts if isinstance(part, dict)]
    texts = [text for text in found if isinstance(text, str)]
    if len(texts) != len(parts):
        raise WireError(400, "this stand-in reads parts of text and no others")
    return "".join(texts)


def whole(asked: Asked, given: Given) -> dict[str, Any]:
    if given.ending == "blocked" and number(asked.digest) % 2:
        return {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, **tail(asked, given)}
    return {"candidates": [candidate(given.text, FINISH[given.ending])], **tail(asked, given)}


def chunks(asked: Asked, given: Given) -> Iterator[dict[str, Any]]:
    """A few words each; the last chunk tells how it ended."""
    said = pieces(given.text)
    if len(said) < 2:
        yield whole(asked, given)
        return
    middle = len(said) // 2
    for text, finish in (("".join(said[:middle]), None), ("".join(said[middle:]), given.ending)):
        end = FINISH[finish] if finish else None
        yield {"candidates": [candidate(text, end)], **tail(asked, given)}


def candidate(text: str, finish: str | None) -> dict[str, Any]:
    value: dict[str, Any] = {"index": 0}
    if text:
        value["content"] = {"role": "model", "parts": [{"text": text}]}
    if finish:
        value["finishReason"] = finish
    return value


def tail(asked: Asked, given: Given) -> dict[str, Any]:
    used = {"promptTokenCount": given.prompt_tokens, "candidatesTokenCount": given.tokens}
    return {
        "usageMetadata": {**used, "totalTokenCount": given.prompt_tokens + given.tokens},
        "modelVersion": f"{asked.model}-stand-in",
        "responseId": asked.digest[:22],
    }


def failure_of(failure: Failure, retry_after_ms: int) -> WireError:
    if failure == "http_429":
        details = [{"@type": RETRY_INFO, "retryDelay": f"{retry_after_ms / 1000:g}s"}]
        return WireError(429, "Resource has been exhausted (injected).", details=details)
    if failure == "http_500":
        # A real 500 names no time to wait; a stand-in may, so that tests need not.
        details = [{"@type": RETRY_INFO, "retryDelay": f"{retry_after_ms / 1000:g}s"}]
        return WireError(500, "An internal error has occurred (injected).", details=details)
    return WireError(504, "The stand-in held this request and stops.")


async def shown_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, WireError)
    status = STATUSES.get(error.status, "UNKNOWN")
    body: dict[str, Any] = {"code": error.status, "message": error.message, "status": status}
    if error.details:
        body["details"] = error.details
    return JSONResponse({"error": body}, error.status, error.headers)
