"""One streamed reply after another, timed where a person would wait for it.

In: the address of a served file, and a conversation. Out: a `Timed`. Lines are stamped as they
come and read only after the last one, so that the client takes little from a server that it
shares a processor with. Refused: a request that the server does not take (BadInput), a server that
is silent or cuts its reply off (Unavailable).
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Self
from urllib.parse import urlsplit

from distill.core.errors import BadInput, Unavailable

EVENT, LAST = b"data: ", b"data: [DONE]"
IDLE_S = 2.0  # servers close a connection that was silent for some seconds
Line = tuple[float, bytes]


@dataclass(frozen=True)
class Timed:
    """A reply: seconds from the request to each piece of text, and what the server counted.

    `cached_tokens` of the prompt were not computed anew. `prompt_s`, from the start on the prompt
    to the first token, and the speed after that token are by the server's own clock: a piece may
    hold several tokens, when the reader or the network is slower than the model.
    """

    prompt_tokens: int
    cached_tokens: int
    tokens: int
    arrivals_s: tuple[float, ...]
    whole_s: float
    prompt_s: float
    tokens_per_s: float | None
    finish_reason: str

    @property
    def first_token_s(self) -> float:
        """Until the first text; until the end where there is none."""
        return self.arrivals_s[0] if self.arrivals_s else self.whole_s

    @property
    def between_s(self) -> list[float]:
        """From each piece of text to the next."""
        pairs = zip(self.arrivals_s, self.arrivals_s[1:], strict=False)
        return [later - earlier for earlier, later in pairs]


class Client:
    """A connection to one server, kept open from reply to reply."""

    def __init__(self, url: str, model: str, timeout_s: float) -> None:
        parts = urlsplit(url)
        self.url, self.model, self.timeout_s = url, model, timeout_s
        self._path = parts.path
        self._connection = HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_s)
        self._used = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def context(self) -> int:
        """How many tokens a conversation may hold, reply included."""
        response = self._request("GET", "/models")
        return int(json.loads(response.read())["data"][0]["context"])

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        limit: int,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> Timed:
        body = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": limit,
            "temperature": temperature,
            "seed": seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        encoded = json.dumps(body).encode()
        self._connect()
        started = time.perf_counter()
        response = self._request("POST", "/chat/completions", encoded)
        lines = list(self._lines(response))
        self._used = time.perf_counter()
        return timed(lines, started, self.url)

    def _connect(self) -> None:
        """Before the clock starts, and anew where the server may have hung up."""
        if self._connection.sock and time.perf_counter() - self._used < IDLE_S:
            return
        self._connection.close()
        try:
            self._connection.connect()
        except OSError as error:
            raise self._lost(error) from error

    def _request(self, method: str, path: str, body: bytes | None = None) -> HTTPResponse:
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            self._connection.request(method, self._path + path, body, headers)
            response = self._connection.getresponse()
            if response.status != 200:
                raise BadInput(refusal(self.url, response.status, response.read()))
        except (HTTPException, OSError) as error:
            raise self._lost(error) from error
        return response

    def _lines(self, response: HTTPResponse) -> Iterator[Line]:
        try:
            while line := response.readline():
                yield time.perf_counter(), line
        except (HTTPException, OSError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> Exception:
        self._connection.close()
        if isinstance(error, BadInput):
            return error
        if isinstance(error, TimeoutError):
            waited = f"{self.timeout_s:g} s"
            return Unavailable(f"{self.url} said nothing for {waited}; raise --timeout")
        return Unavailable(f"{self.url} stopped answering ({error!r}); serve the file to see why")


def timed(lines: Sequence[Line], started: float, url: str) -> Timed:
    """What a stream told; Unavailable for one that was cut off or broke."""
    arrivals: list[float] = []
    finish, closing = "", dict[str, Any]()
    shown_first = False
    for at, line in lines:
        if not line.startswith(EVENT) or line.startswith(LAST):
            continue
        event: dict[str, Any] = json.loads(line[len(EVENT) :])
        if "error" in event:
            raise Unavailable(f"{url} broke off: {event['error'].get('message')}")
        closing = event if event.get("usage") else closing
        for choice in event["choices"][:1]:
            finish = choice.get("finish_reason") or finish
            # The guard's block comes before the model has computed anything.
            shown_first |= event.get("kindred", {}).get("guard", {}).get("shown") is True
            if choice["delta"].get("content"):
                if shown_first:
                    shown_first = False
                else:
                    arrivals.append(at - started)
    if not closing or not finish:
        raise Unavailable(f"{url} cut its reply off; serve the file and look at what it says")
    usage, timings = closing["usage"], closing.get("timings", {})
    return Timed(
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0,
        tokens=usage["completion_tokens"],
        arrivals_s=tuple(arrivals),
        whole_s=lines[-1][0] - started,
        prompt_s=timings.get("prompt_s", 0.0),
        tokens_per_s=timings.get("tokens_per_s") or None,
        finish_reason=finish,
    )


def refusal(url: str, status: int, body: bytes) -> str:
    try:
        said = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        said = body[:200].decode("utf-8", "replace") or "no reason given"
    return f"{url} refused a request (HTTP {status}): {said}"
