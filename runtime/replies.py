"""The shapes in which OpenAI's clients expect completions, streams, models and errors.

In: pieces, counts, errors. Out: JSON-ready dictionaries and bytes of an event stream.
"""

import json
import secrets
import time
from collections.abc import Sequence
from typing import Any, Protocol

from fastapi.responses import Response

from runtime.engine import Chance, Choice, Piece, Reply
from runtime.guard import Checked

KINDS = {  # what OpenAI calls errors of a status
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


class Shape(Protocol):
    """How one reply is spelled, whole or as events; `before` is what the guard shows first."""

    before: str

    def whole(self, piece: Piece, reply: Reply, finish: str) -> dict[str, Any]: ...

    def opening(self) -> list[bytes]:
        """The events before the model's text."""
        ...

    def piece_event(self, piece: Piece) -> bytes: ...

    def closing(self, reply: Reply, finish: str) -> list[bytes]:
        """The events after the text."""
        ...

    def broken(self, error: ApiError) -> list[bytes]:
        """The events that end a stream which cannot go on."""
        ...


class Spoken:
    """What chat and text completions have in common: chunks with one id around a piece of text."""

    prefix, kind, chunk_kind = "chatcmpl", "chat.completion", "chat.completion.chunk"

    def __init__(
        self, model: str, include_usage: bool = False, checked: Checked | None = None
    ) -> None:
        self._model = model
        self.before = checked.block if checked else ""
        self._ours = ours(checked)
        self._id = f"{self.prefix}-{secrets.token_hex(12)}"
        self._created = int(time.time())
        self._include_usage = include_usage
        self._around: list[bytes] | None = None

    def whole_choice(self, text: str, finish: str) -> dict[str, Any]:
        raise NotImplementedError

    def chunk_choice(self, text: str | None, finish: str | None) -> dict[str, Any]:
        raise NotImplementedError

    def logprobs(self, choices: Sequence[Choice]) -> dict[str, Any]:
        raise NotImplementedError

    def _envelope(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._model,
            "choices": choices,
        }

    def whole(self, piece: Piece, reply: Reply, finish: str) -> dict[str, Any]:
        choice = self.whole_choice(self.before + piece.text, finish)
        if piece.choices:
            choice["logprobs"] = self.logprobs(piece.choices)
        counts = {"usage": usage(reply), "timings": reply.timings()}
        return self._envelope(self.kind, [choice]) | counts | self._ours

    def opening(self) -> list[bytes]:
        return [self.piece_event(Piece(self.before))] if self.before else []

    def piece_event(self, piece: Piece) -> bytes:
        """The event of a piece of text: the bytes around it never change."""
        if piece.choices:
            choice = self.chunk_choice(piece.text, None)
            return event(self.chunk(choice | {"logprobs": self.logprobs(piece.choices)}))
        if self._around is None:
            self._around = event(self.chunk(self.chunk_choice(MARK, None))).split(ascii_json(MARK))
        return ascii_json(piece.text).join(self._around)

    def chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        chunk = self._envelope(self.chunk_kind, [choice])
        return chunk | {"usage": None} if self._include_usage else chunk

    def closing(self, reply: Reply, finish: str) -> list[bytes]:
        timings = {"timings": reply.timings()} | self._ours
        chunks = [self.chunk(self.chunk_choice(None, finish)) | timings]
        if self._include_usage:
            chunks.append(self._envelope(self.chunk_kind, []) | {"usage": usage(reply)} | timings)
        return [*map(event, chunks), DONE]

    def broken(self, error: ApiError) -> list[bytes]:
        return [event(error.body())]


class Completion(Spoken):
    """The parts of one chat completion."""

    def whole_choice(self, text: str, finish: str) -> dict[str, Any]:
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}

    def chunk_choice(self, text: str | None, finish: str | None) -> dict[str, Any]:
        delta = {} if text is None else {"content": text}
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}

    def logprobs(self, choices: Sequence[Choice]) -> dict[str, Any]:
        content = [
            chance_of(each.chosen) | {"top_logprobs": [chance_of(c) for c in each.likeliest]}
            for each in choices
        ]
        return {"content": content, "refusal": None}

    def opening(self) -> list[bytes]:
        first = self.chunk_choice("", None)
        first["delta"] = {"role": "assistant", "content": ""}
        return [event(self.chunk(first) | self._ours), *super().opening()]


def chance_of(chance: Chance) -> dict[str, Any]:
    return {"token": text_of(chance), "logprob": chance.logprob, "bytes": list(chance.data)}


def text_of(chance: Chance) -> str:
    return chance.data.decode("utf-8", "replace")


def ours(checked: Checked | None) -> dict[str, Any]:
    """Our field of a reply: what the guard made of the conversation."""
    return {"kindred": {"guard": checked.report()}} if checked else {}


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
