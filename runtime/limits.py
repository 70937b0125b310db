"""How much one client may ask of the server."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bytes and seconds of a request body, messages and reply tokens of one request, seconds from a
    request to the end of its reply, and how many requests may wait while others are answered.
    """

    body_bytes: int = 1024 * 1024
    body_s: float = 30.0
    messages: int = 1024
    tokens: int | None = None
    reply_s: float = 600.0
    queue: int = 16
