"""Gemini through google-genai; the official client waits for no Retry-After, so we do.

The key is GOOGLE_API_KEY or GEMINI_API_KEY; with both, the first, as the client chooses, and it
is said. A safety block is a reply whose outcome is `blocked`. Thoughts count as tokens: they are
paid for, and no part of the text.
"""

import importlib
import importlib.util
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from distill.core.chat.retrying import Passing, with_retries
from distill.core.chat.seam import Messages, RefusedRequest, Reply, Sampling
from distill.core.chat.sharing import LOOPBACK, Sharing, closed_with
from distill.core.errors import BadInput, KindredError, MissingExtra, Unavailable
from distill.core.progress import say

HOSTED = "https://generativelanguage.googleapis.com"
PASSING = frozenset({408, 429, 500, 502, 503, 504})
FINISHES = {"STOP": "stop", "MAX_TOKENS": "length"}
BLOCKS = frozenset(
    {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "IMAGE_SAFETY"}
)


@dataclass(frozen=True)
class GeminiChat:
    """A Gemini model; several base URLs share the calls."""

    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    retries: int = 4
    stream: bool = False
    base_urls: tuple[str, ...] = ()
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False, compare=False)
    provider: str = field(default="gemini", init=False)

    @property
    def urls(self) -> tuple[str, ...]:
        one = os.environ.get("GOOGLE_GEMINI_BASE_URL") or HOSTED
        return tuple(dict.fromkeys(url.rstrip("/") for url in self.base_urls or (one,)))

    @property
    def name(self) -> str:
        return f"{self.model} at {' and '.join(self.urls)}"

    @cached_property
    def sharing(self) -> Sharing:
        return Sharing(self.urls)

    @cached_property
    def clients(self) -> Mapping[str, Any]:
        """The official client of each address; the first place where a key can be missing."""
        key = self.api_key or key_of_environment()
        return closed_with(self, {url: client_of(url, key, self.timeout_s) for url in self.urls})

    @property
    def client(self) -> Any:
        return self.clients[self.urls[0]]

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        _ = self.clients  # made by the first thread, or before
        return self.sharing.ask(lambda url: self.reply_at(url, messages, sampling))

    def reply_at(self, url: str, messages: Messages, sampling: Sampling) -> Reply:
        request = self.request(messages, sampling)

        def once() -> Reply:
            started = time.monotonic()
            with self.plain_errors(url):
                models = self.clients[url].models
                if self.stream:
                    return self.read_all(models.generate_content_stream(**request), started)
                done = models.generate_content(**request)
                return self.read([done], time.monotonic() - started)

        return with_retries(once, self.retries, self.sleep)

    def request(self, messages: Messages, sampling: Sampling) -> dict[str, Any]:
        """The parts of a call: system messages are the instruction, the assistant is `model`."""
        wanted = {
            "max_output_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.sent_seed,
            "system_instruction": "\n\n".join(
                message["content"] for message in messages if message["role"] == "system"
            )
            or None,
        }
        config = {key: value for key, value in wanted.items() if value is not None}
        contents = [
            {
                "role": "model" if message["role"] == "assistant" else "user",
                "parts": [{"text": message["content"]}],
            }
            for message in messages
            if message["role"] != "system"
        ]
        return {"model": self.model, "contents": contents, "config": config}

    def read_all(self, chunks: Iterable[Any], started: float) -> Reply:
        """Read a stream to its end, and note when its first text came."""
        first_s, kept = None, []
        for chunk in chunks:
            kept.append(chunk)
            if first_s is None and text_of(chunk):
                first_s = time.monotonic() - started
        seconds = time.monotonic() - started
        if not any(map(ended, kept)):
            raise Unavailable(f"{self.name} cut its answer off; try again")
        return self.read(kept, seconds, first_s)

    def read(self, parts: Sequence[Any], seconds: float, first_s: float | None = None) -> Reply:
        """A reply from a whole answer, or from the chunks of one; a batch gives the same object."""
        usage = next((part.usage_metadata for part in parts[::-1] if part.usage_metadata), None)
        tokens = count(usage, "candidates_token_count") + count(usage, "thoughts_token_count")
        version = next((part.model_version for part in parts if part.model_version), self.model)
        first_token_s = seconds if first_s is None else first_s
        paced = seconds - first_token_s
        return Reply(
            text="".join(map(text_of, parts)),
            model=version,
            finish_reason=next((end for part in parts[::-1] if (end := ended(part))), "unknown"),
            tokens=tokens,
            first_token_s=first_token_s,
            tokens_per_s=max(tokens - 1, 0) / paced if paced > 0 else tokens / max(seconds, 1e-9),
            prompt_tokens=count(usage, "prompt_token_count"),
        )

    @contextmanager
    def plain_errors(self, url: str) -> Iterator[None]:
        """Turn the client's errors into one line each; those that may pass are marked."""
        from google.genai import errors

        late, lost = transport_errors()
        name = f"{self.model} at {url}"
        try:
            yield
        except KindredError:
            raise
        except errors.APIError as error:
            plain = plain_error(name, error)
            plain.__cause__ = error
            if error.code in PASSING:
                raise Passing(plain, asked_wait_s(error)) from error
            raise plain from error
        except late as error:
            raise Passing(
                Unavailable(f"{name} did not answer within {self.timeout_s:g} s; raise --timeout")
            ) from error
        except lost as error:
            raise Passing(
                Unavailable(f"{url} cannot be reached ({error}); start it, or mend the URL")
            ) from error
        except ValueError as error:
            raise Unavailable(f"{name} sent what is no answer: {one_line(error)}") from error


def transport_errors() -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Timeouts and lost connections of the HTTP libraries that the client may be using."""
    found = [
        importlib.import_module(name)
        for name in ("httpx", "httpx2")
        if importlib.util.find_spec(name)
    ]
    return (
        tuple(library.TimeoutException for library in found),
        tuple(library.HTTPError for library in found),
    )


def key_of_environment() -> str | None:
    both = {name: os.environ.get(name) for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY")}
    given = {name: key for name, key in both.items() if key}
    if len(given) == 2:
        say("GOOGLE_API_KEY and GEMINI_API_KEY are both set: GOOGLE_API_KEY is used")
    return next(iter(given.values()), None)


def client_of(url: str, key: str | None, timeout_s: float) -> Any:
    """The official client, without retries of its own."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BadInput(f"{url} is not a base URL; give one like {HOSTED}")
    if not key and url == HOSTED:
        raise BadInput("no key for Gemini: set GEMINI_API_KEY, or name a stand-in with --base-url")
    try:
        from google import genai
    except ImportError as error:
        raise MissingExtra(
            "asking Gemini needs google-genai; install it with: pip install 'kindred-slm[teach]'"
        ) from error
    options: Any = {"base_url": url, "timeout": max(int(timeout_s * 1000), 1)}
    if parts.hostname in LOOPBACK:
        options["client_args"] = {"trust_env": False}
    options["retry_options"] = {"attempts": 1}
    return genai.Client(api_key=key or "none", vertexai=False, http_options=options)


def ended(part: Any) -> str | None:
    """Why an answer or its last chunk ended, in the words of the seam; None while it goes on."""
    feedback = part.prompt_feedback
    if feedback and feedback.block_reason:
        return "safety"
    if not part.candidates or not part.candidates[0].finish_reason:
        return None
    reason = part.candidates[0].finish_reason.name
    return "safety" if reason in BLOCKS else FINISHES.get(reason, reason.lower())


def text_of(part: Any) -> str:
    """The text of a chunk without thoughts."""
    content = part.candidates[0].content if part.candidates else None
    pieces = (content.parts if content else None) or []
    return "".join(piece.text or "" for piece in pieces if not piece.thought)


def count(usage: Any, name: str) -> int:
    return int(getattr(usage, name, None) or 0)


def plain_error(name: str, error: Any) -> Exception:
    said = one_line(error.message or error)
    if error.code in (401, 403) or "API key" in said:
        return BadInput(f"{name} refused the key (HTTP {error.code}); set GEMINI_API_KEY")
    if error.code == 404:
        return BadInput(f"{name} is not known there; choose another model ({said})")
    if error.code == 429:
        return Unavailable(f"{name} is over its limit; wait, or lower --concurrency ({said})")
    if error.code in PASSING or error.code >= 500:
        return Unavailable(f"{name} failed (HTTP {error.code}): {said}")
    return RefusedRequest(f"{name} refused a request: {said}")


def asked_wait_s(error: Any) -> float | None:
    """Seconds from the Retry-After header, or from the RetryInfo in the body."""
    header = getattr(error.response, "headers", {}).get("retry-after")
    body = error.details if isinstance(error.details, dict) else {}
    details = body.get("error", body).get("details") or []
    named = [d.get("retryDelay", "").rstrip("s") for d in details if isinstance(d, dict)]
    for text in (header, *named):
        try:
            return max(float(text or ""), 0.0)
        except ValueError:
            continue
    return None


def one_line(error: Any) -> str:
    line = " ".join(str(error).split())
    return line if len(line) <= 300 else line[:297] + "..."


def opened(model: str, base_urls: Sequence[str], timeout_s: float, stream: bool) -> GeminiChat:
    chat = GeminiChat(model, timeout_s=timeout_s, stream=stream, base_urls=tuple(base_urls))
    _ = chat.clients
    return chat
