"""Who may ask: the outermost layer of the server.

In: every HTTP request. Out: the same request. Refused, in OpenAI's error shape: a Host header that
is not ours (a page in a browser that resolved its own name to this machine) and a wrong key. Of
what goes wrong inside only the kind and place are reported, never the words of a chat.
"""

import hmac
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from starlette.requests import ClientDisconnect

from distill.core.progress import say
from runtime.address import LOOPBACK_NAMES, is_loopback
from runtime.replies import ApiError

PUBLIC = {"/health"}


class Access:
    """Wraps an ASGI application; `stop` ends what it is computing."""

    def __init__(
        self, app: Any, *, host: str, api_key: str | None, stop: Callable[[], None]
    ) -> None:
        self._app = app
        self.stop = stop
        self._api_key = api_key
        # Off loopback the key keeps strangers out, and any name may be the right one.
        self._hosts = LOOPBACK_NAMES | {host} if is_loopback(host) else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._admit(scope["path"], dict(scope["headers"]))
            await self._app(scope, receive, send)
        except ApiError as refusal:
            await refusal.response()(scope, receive, send)
        except ClientDisconnect:
            return
        except Exception as error:  # answered by the application; a traceback would quote it
            say(f"error: {scope['method']} {scope['path']}: {place_of(error)}")

    def _admit(self, path: str, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and name_of(host) not in self._hosts:
            raise ApiError(
                403, f"this server does not answer for the host {host!r}", code="host_not_allowed"
            )
        if self._api_key and path not in PUBLIC:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self._api_key.encode())
            if scheme.lower() != b"bearer" or not right:
                raise ApiError(
                    401,
                    "the API key is missing or wrong; send Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )


def name_of(host: str) -> str:
    """A Host header without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()


def place_of(error: BaseException) -> str:
    """Kind and place of an exception, without its message, which may quote a chat."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{where}"
