"""The shapes in which OpenAI's clients expect completions, streams, models and errors.

In: pieces, counts, errors. Out: JSON-ready dictionaries and bytes of an event stream.
"""

import json
import secrets
import time
from typing import Any

from fastapi.responses import Response

from runtime.engine import Reply
from runtime.guard import Checked

KINDS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
}


MARK = "\0"  # text that appears nowhere else in a chunk


class ApiError(Exception):
    """An answer that is an error, in OpenAI's shape."""

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.param, self.code = status, param, code
        self.headers = headers

    def body(self) -> dict[str, Any]:
        kind = KINDS.get(self.status, "invalid_request_error")
        error = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> Response:
        return json_response(self.body(), self.status, self.headers)


class Completion:
    """The parts of one chat completion, whole or as chunks with one id."""

    def __init__(
        self, model: str, include_usage: bool = False, checked: Checked | None = None
    ) -> None:
        self._model = model
        self.before = checked.block if checked else ""  # shown before the model's text
        self._ours = {"kindred": {"guard": checked.report()}} if checked else {}
        self._id = f"chatcmpl-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._include_usage = include_usage
        self._around: list[bytes] | None = None

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def whole(self, text: str, reply: Reply) -> dict[str, Any]:
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": self.before + text, "refusal": None},
            "logprobs": None,
            "finish_reason": reply.finish_reason,
        }
        counts = {"usage": usage(reply), "timings": reply.timings()}
        return self._envelope("chat.completion", [choice]) | counts | self._ours

    def opening(self) -> list[bytes]:
        """The events before the model's text: the role, and what the guard shows."""
        first = event(self.chunk({"role": "assistant", "content": ""}) | self._ours)
        return [first, *([self.text_event(self.before)] if self.before else [])]

    def text_event(self, text: str) -> bytes:
        """The event of a piece of text: the bytes around it never change."""
        if self._around is None:
            self._around = event(self.chunk({"content": MARK})).split(ascii_json(MARK))
        return ascii_json(text).join(self._around)

    def chunk(self, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = self._envelope("chat.completion.chunk", [choice])
        return chunk | {"usage": None} if self._include_usage else chunk

    def closing(self, reply: Reply) -> list[dict[str, Any]]:
        """The chunks after the text: the finish reason, then the usage where it was asked for."""
        timings = {"timings": reply.timings()} | self._ours
        chunks = [self.chunk({}, reply.finish_reason) | timings]
        if self._include_usage:
            last = self._envelope("chat.completion.chunk", [])
            chunks.append(last | {"usage": usage(reply)} | timings)
        return chunks


def usage(reply: Reply) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.tokens,
        "total_tokens": reply.prompt_tokens + reply.tokens,
        "prompt_tokens_details": {"cached_tokens": reply.cached_tokens},
    }


def ascii_json(value: Any) -> bytes:
    """JSON in ASCII: some readers of streams take U+2028 for the end of a line."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def json_response(
    value: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(ascii_json(value), status, headers, "application/json")


def event(value: dict[str, Any]) -> bytes:
    """One event of a stream."""
    return b"data: " + ascii_json(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
