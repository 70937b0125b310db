"""Any OpenAI-compatible endpoint, through the official client: OpenAI, vLLM, llama.cpp, ours.

The client retries rate limits (waiting as Retry-After says), 5xx and lost connections. Several
base URLs share the calls.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from json import JSONDecodeError
from typing import Any
from urllib.parse import urlsplit

from distill.core.chat.seam import Messages, RefusedRequest, Reply, Sampling
from distill.core.chat.sharing import LOOPBACK, Sharing, closed_with
from distill.core.errors import BadInput, MissingExtra, Unavailable

HOSTED = "https://api.openai.com/v1"


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
    base_urls: tuple[str, ...] = ()
    provider: str = field(default="openai", init=False)

    @property
    def urls(self) -> tuple[str, ...]:
        """Where the model answers; `base_urls` share the calls, and go before `base_url`."""
        one = self.base_url or os.environ.get("OPENAI_BASE_URL") or HOSTED
        return tuple(dict.fromkeys(url.rstrip("/") for url in self.base_urls or (one,)))

    @property
    def url(self) -> str:
        return self.urls[0]

    @property
    def name(self) -> str:
        return f"{self.model} at {' and '.join(self.urls)}"

    @cached_property
    def sharing(self) -> Sharing:
        return Sharing(self.urls)

    @cached_property
    def clients(self) -> Mapping[str, Any]:
        """The official client of each address; the first place where a key can be missing."""
        return closed_with(self, {url: self.client_of(url) for url in self.urls})

    @property
    def client(self) -> Any:
        return self.clients[self.url]

    def client_of(self, url: str) -> Any:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"{url} is not a base URL; give one like http://127.0.0.1:8080/v1")
        key = self.api_key or os.environ.get("OPENAI_API_KEY")
        if not key and url == HOSTED:
            raise BadInput(
                f"no key for {HOSTED}: set OPENAI_API_KEY, or name another endpoint with "
                "--base-url or OPENAI_BASE_URL"
            )
        openai = client_library()
        # A proxy from the environment cannot reach this machine's loopback.
        direct = openai.DefaultHttpxClient(trust_env=False) if parts.hostname in LOOPBACK else None
        return openai.OpenAI(
            base_url=url,
            api_key=key or "none",
            timeout=self.timeout_s,
            max_retries=self.retries,
            http_client=direct,
        )

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        _ = self.clients  # made by the first thread, or before
        return self.sharing.ask(lambda url: self.reply_at(url, messages, sampling))

    def reply_at(self, url: str, messages: Messages, sampling: Sampling) -> Reply:
        request = self.request(messages, sampling, url)
        with self.plain_errors(url):
            try:
                return self.streamed(request, url) if self.stream else self.whole(request, url)
            except client_library().BadRequestError as error:
                if error.code != "content_filter":
                    raise
                return Reply("", self.model, "content_filter", 0, 0.0, 0.0)

    def request(
        self, messages: Messages, sampling: Sampling, url: str | None = None
    ) -> dict[str, Any]:
        """The body of a call, as it is sent and as a batch file holds it."""
        # OpenAI's newer models refuse max_tokens; most compatible servers know nothing else.
        limit = "max_completion_tokens" if (url or self.url) == HOSTED else "max_tokens"
        wanted = {limit: sampling.max_tokens, "temperature": sampling.temperature}
        known = {key: value for key, value in wanted.items() if value is not None}
        if sampling.sent_seed is not None:
            known["seed"] = sampling.sent_seed
        return {"model": self.model, "messages": list(messages), **known}

    def whole(self, request: Mapping[str, Any], url: str) -> Reply:
        started = time.monotonic()
        done = self.clients[url].chat.completions.create(**request)
        return self.read(done, time.monotonic() - started)

    def read(self, done: Any, seconds: float) -> Reply:
        """A reply from a whole completion; a batch gives the same object, and no time."""
        if not getattr(done, "choices", None):
            raise Unavailable(f"{self.name} sent an answer without choices; look at its log")
        choice, usage = done.choices[0], done.usage
        tokens = usage.completion_tokens if usage else 0
        return Reply(
            text=choice.message.content or "",
            model=version_of(done, self.model),
            finish_reason=end_of(choice),
            tokens=tokens,
            first_token_s=seconds,
            tokens_per_s=tokens / max(seconds, 1e-9),
            prompt_tokens=usage.prompt_tokens if usage else 0,
        )

    def streamed(self, request: Mapping[str, Any], url: str) -> Reply:
        """Read a stream to its end; a server that counts no tokens is counted by its chunks."""
        started = time.monotonic()
        pieces: list[str] = []
        times: list[float] = []
        finish, version, usage = None, self.model, None
        with self.clients[url].chat.completions.create(
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
    def plain_errors(self, url: str) -> Iterator[None]:
        """Turn the client's errors into one line each."""
        openai, name = client_library(), f"{self.model} at {url}"
        try:
            yield
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise BadInput(
                f"{url} refused the key (HTTP {error.status_code}); set OPENAI_API_KEY"
            ) from error
        except openai.NotFoundError as error:
            raise BadInput(
                f"{url} does not know {self.model!r}; choose another --model ({said(error)})"
            ) from error
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            raise RefusedRequest(f"{name} refused a request: {said(error)}") from error
        except openai.RateLimitError as error:
            raise Unavailable(
                f"{name} is over its limit after {self.retries + 1} attempts; wait, or lower "
                f"--concurrency ({said(error)})"
            ) from error
        except openai.APITimeoutError as error:
            raise Unavailable(
                f"{name} did not answer within {self.timeout_s:g} s; raise --timeout"
            ) from error
        except openai.APIConnectionError as error:
            raise Unavailable(
                f"{url} cannot be reached ({error.__cause__ or error}); "
                "start the server, or mend the URL"
            ) from error
        except (openai.APIError, JSONDecodeError) as error:
            raise Unavailable(f"{name} failed: {said(error)}; look at its log") from error


def client_library() -> Any:
    try:
        import openai
    except ImportError as error:
        raise MissingExtra(
            "asking an endpoint needs openai; install it with: pip install 'kindred-slm[teach]'"
        ) from error
    return openai


def version_of(answer: Any, otherwise: str) -> str:
    """The model that an endpoint says it used, with its fingerprint where it gives one."""
    named = [getattr(answer, key, None) for key in ("model", "system_fingerprint")]
    return "/".join(part for part in named if part) or otherwise


def end_of(choice: Any) -> str:
    """Why the text ended; a refusal that came in a field of its own is a block."""
    return "refusal" if refusal_in(choice) else choice.finish_reason or "unknown"


def refusal_in(choice: Any) -> bool:
    return bool(getattr(choice.message, "refusal", None)) and not choice.message.content


def said(error: Exception) -> str:
    """One short line of what a server said."""
    body = getattr(error, "body", None)
    text = body.get("message") if isinstance(body, dict) else None
    line = " ".join(str(text or error).split())
    return line if len(line) <= 300 else line[:297] + "..."


def opened(model: str, base_urls: Sequence[str], timeout_s: float, stream: bool) -> OpenAIChat:
    chat = OpenAIChat(model, timeout_s=timeout_s, stream=stream, base_urls=tuple(base_urls))
    _ = chat.clients  # a missing key is found before the first call, not in a thread
    return chat
