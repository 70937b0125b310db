"""Reading requests as any JSON service does.

In: a request's bytes. Out: a JSON object, a digest. Refused: what is no JSON object (WireError,
which each stand-in shows in the shape of its service).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request


class WireError(Exception):
    """An error answer, before it has the shape of a service."""

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        details: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code
        self.headers, self.details = dict(headers or {}), list(details)


async def read_object(request: Request) -> dict[str, Any]:
    return parsed(await request.body())


def parsed(data: bytes | str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise WireError(400, f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise WireError(400, "the body is not a JSON object")
    return value


def either(body: Mapping[str, Any], name: str) -> Any:
    """A value by its camelCase name, or by the same in snake_case."""
    snake = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
    return body.get(name, body.get(snake))


def digest_of(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
