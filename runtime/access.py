"""Who may ask: the outermost layer of the server.

In: every HTTP request. Out: the same request, counted, and logged where that was asked for.
Refused, in OpenAI's error shape: a Host header that is not ours (a page in a browser that resolved
its own name to this machine), a page of an origin that is not on the list, and a wrong key. Of what
goes wrong inside only the kind and place are reported, never the words of a chat.
"""

import hmac
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from distill.core.progress import say
from runtime.address import LOOPBACK_NAMES, is_loopback
from runtime.replies import ApiError

PUBLIC = {"/health"}
GONE = 499  # as proxies log it: the reader left before the end
Report = Callable[[str, str, int, float, Mapping[str, Any]], None]


class Access:
    """Wraps an ASGI application; `report` is told of every answer."""

    def __init__(
        self,
        app: Any,
        *,
        host: str,
        api_key: str | None,
        origins: tuple[str, ...] = (),
        report: Report,
    ) -> None:
        self._origins = frozenset(origins)
        self._app = app
        if origins:
            self._app = CORSMiddleware(
                app, allow_origins=list(origins), allow_methods=["*"], allow_headers=["*"]
            )
        self._api_key = api_key
        self._report = report
        # Off loopback the key keeps strangers out, and any name may be the right one.
        self._hosts = LOOPBACK_NAMES | {host} if is_loopback(host) else None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), GONE
        facts: dict[str, Any] = {}
        scope.setdefault("state", {})["facts"] = facts

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            self._admit(scope, dict(scope["headers"]))
            await self._app(scope, receive, noting)
        except ApiError as refusal:
            await refusal.response()(scope, receive, noting)
        except ClientDisconnect:
            status = GONE
        except Exception as error:  # answered by the application; a traceback would quote it
            say(f"error: {scope['method']} {scope['path']}: {place_of(error)}")
        finally:
            took_s = time.monotonic() - started
            self._report(scope["path"], scope["method"], status, took_s, facts)

    def _admit(self, scope: Any, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1")
        if self._hosts is not None and name_of(host) not in self._hosts:
            raise ApiError(
                403,
                f"this server does not answer for the host {host[:100]!r}",
                code="host_not_allowed",
            )
        if self._asks_for_page(scope, headers):
            return
        if self._api_key and scope["path"] not in PUBLIC:
            scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
            right = hmac.compare_digest(given.strip(), self._api_key.encode())
            if scheme.lower() != b"bearer" or not right:
                raise ApiError(
                    401,
                    "the API key is missing or wrong; send Authorization: Bearer KEY",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )

    def _asks_for_page(self, scope: Any, headers: dict[bytes, bytes]) -> bool:
        """True for a preflight of a page that may ask: browsers send no key with it."""
        asked = scope["method"] == "OPTIONS" and b"access-control-request-method" in headers
        if not asked or not self._origins:
            return False
        origin = headers.get(b"origin", b"").decode("latin-1")
        if origin not in self._origins:
            raise ApiError(
                403,
                f"pages of {origin[:100]!r} may not ask; start the server with --allow-origin",
                code="origin_not_allowed",
            )
        return True


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
