"""The seam to anything that answers in chat form: a teacher, a judge, a candidate.

In: messages and a `Sampling`. Out: a `Reply` with its text, its end, its counts and its times.
Refused: a key that is missing or wrong, a model that the endpoint does not have (BadInput), one
request that it will not take (RefusedRequest), an endpoint that does not answer (Unavailable).
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from json import JSONDecodeError
from typing import Any, Protocol
from urllib.parse import urlsplit

from distill.core.errors import BadInput, MissingExtra, Unavailable

Messages = Sequence[Mapping[str, str]]
HOSTED = "https://api.openai.com/v1"
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class RefusedRequest(BadInput):
    """The endpoint works, and will not take this one request."""


@dataclass(frozen=True)
class Sampling:
    """How to draw a reply; temperature 0 is greedy, None sends none (some models refuse one)."""

    max_tokens: int = 256
    temperature: float | None = 0.0
    seed: int | None = None


@dataclass(frozen=True)
class Reply:
    """What came back; `model` is the version that the endpoint says it used."""

    text: str
    model: str
    finish_reason: str
    tokens: int
    first_token_s: float
    tokens_per_s: float
    prompt_tokens: int = 0


class Chat(Protocol):
    """Anything that answers messages."""

    @property
    def name(self) -> str:
        """What answers, and where."""
        ...

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        """Answer the messages; safe to call from several threads."""
        ...


@dataclass(frozen=True)
class OpenAIChat:
    """Any OpenAI-compatible endpoint; rate limits, 5xx and lost connections are retried.

    `base_url` and `api_key` default to OPENAI_BASE_URL and OPENAI_API_KEY. With `stream` the
    times are those of the tokens as they arrive; without, those of the whole call.
    """

    model: str
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 120.0
    retries: int = 4
    stream: bool = False

    @property
    def url(self) -> str:
        return (self.base_url or os.environ.get("OPENAI_BASE_URL") or HOSTED).rstrip("/")

    @property
    def name(self) -> str:
        return f"{self.model} at {self.url}"

    @cached_property
    def client(self) -> Any:
        """The official client; made once, and the first place where a key can be missing."""
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{self.url} is not a base URL; give one like http://127.0.0.1:8080/v1")
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        if not key and self.url == HOSTED:
            raise BadInput(
                f"no key for {HOSTED}: set OPENAI_API_KEY, or name another endpoint with "
                "--base-url or OPENAI_BASE_URL"
            )
        openai = client_library()
        # A proxy from the environment cannot reach this machine's loopback.
        direct = openai.DefaultHttpxClient(trust_env=False) if parts.hostname in LOOPBACK else None
        return openai.OpenAI(
            base_url=self.url,
            api_key=key or "none",
            timeout=self.timeout_s,
            max_retries=self.retries,
            http_client=direct,
        )

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        request = self.request(messages, sampling)
        with self.plain_errors():
            return self.streamed(request) if self.stream else self.whole(request)

    def request(self, messages: Messages, sampling: Sampling) -> dict[str, Any]:
        # OpenAI's newer models refuse max_tokens; most compatible servers know nothing else.
        limit = "max_completion_tokens" if self.url == HOSTED else "max_tokens"
        wanted = {limit: sampling.max_tokens, "temperature": sampling.temperature}
        known = {key: value for key, value in wanted.items() if value is not None}
        if sampling.seed is not None:
            known["seed"] = sampling.seed
        return {"model": self.model, "messages": list(messages), **known}

    def whole(self, request: Mapping[str, Any]) -> Reply:
        started = time.monotonic()
        done = self.client.chat.completions.create(**request)
        seconds = time.monotonic() - started
        if not getattr(done, "choices", None):
            raise Unavailable(f"{self.name} sent an answer without choices; look at its log")
        choice, usage = done.choices[0], done.usage
        tokens = usage.completion_tokens if usage else 0
        return Reply(
            text=choice.message.content or "",
            model=version_of(done, self.model),
            finish_reason=choice.finish_reason or "unknown",
            tokens=tokens,
            first_token_s=seconds,
            tokens_per_s=tokens / max(seconds, 1e-9),
            prompt_tokens=usage.prompt_tokens if usage else 0,
        )

    def streamed(self, request: Mapping[str, Any]) -> Reply:
        """Read a stream to its end; a server that counts no tokens is counted by its chunks."""
        started = time.monotonic()
        pieces: list[str] = []
        times: list[float] = []
        finish, version, usage = None, self.model, None
        with self.client.chat.completions.create(
            **request, stream=True, stream_options={"include_usage": True}
        ) as chunks:
            for chunk in chunks:
                version, usage = version_of(chunk, version), chunk.usage or usage
                for choice in chunk.choices[:1]:
                    finish = choice.finish_reason or finish
                    if choice.delta.content:
                        pieces.append(choice.delta.content)
                        times.append(time.monotonic())
        ended = time.monotonic()
        if finish is None:
            raise Unavailable(f"{self.name} cut its answer off; look at its log and try again")
        tokens = usage.completion_tokens if usage else len(pieces)
        first, last = (times[0], times[-1]) if times else (ended, ended)
        # Between the first and the last token lie tokens - 1 steps; one token has only its wait.
        paced = len(times) > 1 and last > first
        return Reply(
            text="".join(pieces),
            model=version,
            finish_reason=finish,
            tokens=tokens,
            first_token_s=first - started,
            tokens_per_s=(tokens - 1) / (last - first) if paced else tokens / (ended - started),
            prompt_tokens=usage.prompt_tokens if usage else 0,
        )

    @contextmanager
    def plain_errors(self) -> Iterator[None]:
        """Turn the client's errors into one line each."""
        openai = client_library()
        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise BadInput(
                f"{self.url} refused the key (HTTP {error.status_code}); set OPENAI_API_KEY"
            ) from error
        except openai.NotFoundError as error:
            raise BadInput(
                f"{self.url} does not know {self.model!r}; choose another --model ({said(error)})"
            ) from error
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise RefusedRequest(f"{self.name} refused a request: {said(error)}") from error
        except openai.RateLimitError as error:
            raise Unavailable(
                f"{self.name} is over its limit after {self.retries + 1} attempts; wait, or lower "
                f"--concurrency ({said(error)})"
            ) from error
        except openai.APITimeoutError as error:
            raise Unavailable(
                f"{self.name} did not answer within {self.timeout_s:g} s; raise --timeout"
            ) from error
        except openai.APIConnectionError as error:
            raise Unavailable(
                f"{self.url} cannot be reached ({error.__cause__ or error}); "
                "start the server, or mend the URL"
            ) from error
        except (openai.APIError, JSONDecodeError) as error:
            raise Unavailable(f"{self.name} failed: {said(error)}; look at its log") from error


def client_library() -> Any:
    try:
        import openai
    except ImportError as error:
        raise MissingExtra(
            "asking an endpoint needs openai; install it with: pip install 'kindred-slm[eval]'"
        ) from error
    return openai


def version_of(answer: Any, otherwise: str) -> str:
    """The model that an endpoint says it used, with its fingerprint where it gives one."""
    named = [getattr(answer, key, None) for key in ("model", "system_fingerprint")]
    return "/".join(part for part in named if part) or otherwise


def said(error: Exception) -> str:
    """One short line of what a server said."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    line = " ".join(str(text or error).split())
    return line if len(line) <= 300 else line[:297] + "..."


@dataclass
class ScriptedChat:
    """A double for tests: a function from messages to text; `asked` keeps what it was asked.

    The function may raise a `KindredError`, as an endpoint would.
    """

    script: Callable[[Messages], str]
    name: str = "scripted"
    finish_reason: str = "stop"
    asked: list[list[dict[str, str]]] = field(default_factory=list)

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        self.asked.append([dict(message) for message in messages])
        words = self.script(messages).split(" ")
        kept = words[: sampling.max_tokens]
        return Reply(
            text=" ".join(kept),
            model=self.name,
            finish_reason="length" if len(kept) < len(words) else self.finish_reason,
            tokens=len(kept),
            first_token_s=0.0,
            tokens_per_s=0.0,
        )
