"""The engine: messages in, pieces of a reply out, one cached sequence in between.

In: an open file. Out: `Reply`, an iterator of `Piece`. Refused: options out of range and messages
of the wrong form (BadInput), and a prompt that does not fit (PromptTooLong): nothing is ever cut.
"""

import math
import secrets
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from distill.core.errors import BadInput, KindredError, Unsupported
from runtime.artifact import check
from runtime.backends import Backend, Sampler, Sampling
from runtime.cores import physical_cores
from runtime.template import ChatTemplate, Prompter
from runtime.text import TextFlow

NO_TEMPLATE = "it carries no chat template; export it again from a checkpoint that has one"
ROLES = ("system", "user", "assistant")


class PromptTooLong(BadInput):
    """A prompt that leaves no room for a reply."""

    def __init__(self, prompt_tokens: int, context: int) -> None:
        super().__init__(
            f"the messages take {prompt_tokens} tokens and the context holds {context}, reply "
            "included; shorten them, or open the file with a larger context"
        )


@dataclass(frozen=True)
class Piece:
    """What one token added; `text` may be empty while a character or stop string is open."""

    text: str
    finish_reason: str | None = None
    tokens: int = 1


class Step(NamedTuple):
    """One chosen token and what it means."""

    token: int
    is_end: bool
    data: bytes


def never() -> bool:
    return False


class Engine:
    """One open file that answers one chat at a time and remembers the last prompt it evaluated.

    Replies may be read in any order and from several threads: each step first brings the cache
    to its own sequence.
    """

    def __init__(self, name: str, backend: Backend) -> None:
        if not backend.template:
            raise Unsupported(NO_TEMPLATE)
        self.name = name
        self.context = backend.context
        self.backend = backend
        template = ChatTemplate(backend.template, begin=backend.begin_text, end=backend.end_text)
        self._prompter = Prompter(template, backend)
        self._cached: list[int] = []
        self._owner: object = None  # the key of the reply whose sequence is cached
        self._steps: dict[int, Step] = {}
        self._lock = threading.Lock()
        self._close = weakref.finalize(self, _close, backend, self._lock)

    def prompt_ids(
        self, messages: Sequence[Mapping[str, str]], *, reply_next: bool = True
    ) -> list[int]:
        """The token ids of a conversation, as the model sees them."""
        self._require_open()
        return self._prompter.encode(plain_messages(messages), reply_next=reply_next)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        max_tokens: int | None = 256,
        temperature: float = 0.7,
        top_p: float = 0.95,
        top_k: int = 40,
        min_p: float = 0.05,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        stop: Sequence[str] = (),
        cancelled: Callable[[], bool] = never,
    ) -> "Reply":
        """Answer a conversation; the reply is computed while it is read.

        Without `max_tokens` it may fill the context. The end token is neither text nor counted.
        Without `seed` every reply is drawn anew; without `repetition_penalty` it is what the file
        recommends. Once `cancelled()` is true no token follows.
        """
        started = time.perf_counter()
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        if max_tokens is not None and max_tokens < 1:
            raise BadInput(f"max_tokens is {max_tokens}; it must be 1 or more")
        if not all(stops):
            raise BadInput("a stop string is empty; leave it out")
        seed = secrets.randbits(32) if seed is None else seed
        penalty = repetition_penalty or self.backend.repetition_penalty
        sampling = checked(Sampling(temperature, top_p, top_k, min_p, seed, penalty))
        prompt = self.prompt_ids(messages)
        if not prompt:
            raise BadInput("the messages render to an empty prompt")
        room = self.context - len(prompt)
        if room < 1:
            raise PromptTooLong(len(prompt), self.context)
        limit = room if max_tokens is None else min(max_tokens, room)
        return Reply(self, prompt, limit, sampling, TextFlow(stops), cancelled, started)

    def step(
        self, sequence: list[int], sampler: Sampler, reply: "Reply", cancelled: Callable[[], bool]
    ) -> Step | None:
        """Bring the cache to `sequence` and choose what follows; None once cancelled."""
        with self._lock:
            self._require_open()
            if self._owner is not reply.key:
                self._owner = None
                self._rewind(sequence)
                self._owner = reply.key
            if not reply.tokens:
                reply.cached_tokens = len(self._cached)
            while len(self._cached) < len(sequence):
                if cancelled():
                    return None
                done = len(self._cached)
                self._evaluate(sequence[done : done + self.backend.chunk])
            return self._meaning(sampler.next())

    def _meaning(self, token: int) -> Step:
        step = self._steps.get(token)
        if step is None:
            step = Step(token, self.backend.is_end(token), self.backend.bytes_of(token))
            self._steps[token] = step
        return step

    def _rewind(self, sequence: Sequence[int]) -> None:
        """Keep of the cache what `sequence` begins with, its last token apart."""
        shared = common_length(self._cached, sequence[:-1])
        self._cached = self._cached[: self.backend.keep(shared)]

    def _evaluate(self, chunk: Sequence[int]) -> None:
        try:
            self.backend.evaluate(chunk)
            self._cached.extend(chunk)
        except BaseException:  # Ctrl-C too: what is cached must be what we think is cached
            self._owner = None
            self._cached = self._cached[: self.backend.keep(0)]
            raise

    def _require_open(self) -> None:
        if not self._close.alive:
            raise RuntimeError("the engine is closed")

    def close(self) -> None:
        """Free the file's memory; waits for a step in progress."""
        self._close()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Reply:
    """An iterator of pieces; the last one has a finish reason.

    `prompt_tokens`, `cached_tokens` (of the prompt, from an earlier chat), `tokens` and
    `finish_reason` are exact at every moment; `timings()` is in seconds.
    """

    def __init__(
        self,
        engine: Engine,
        prompt: list[int],
        limit: int,
        sampling: Sampling,
        flow: TextFlow,
        cancelled: Callable[[], bool],
        started: float,
    ) -> None:
        self.key = object()
        self.prompt_tokens = len(prompt)
        self.cached_tokens = 0
        self.tokens = 0
        self.finish_reason: str | None = None
        self._engine, self._sequence, self._limit = engine, prompt, limit
        self._sampling, self._flow, self._cancelled = sampling, flow, cancelled
        self._started, self._prompt_s, self._first, self._last = started, 0.0, 0.0, 0.0
        self._pieces = self._generate()

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        return next(self._pieces)

    def close(self) -> None:
        """Stop here."""
        self._pieces.close()

    def timings(self) -> dict[str, float]:
        """Speed is that of the tokens after the first, so 0 where there is no second one."""
        decoding = self._last - self._first
        return {
            "prompt_tokens": self.prompt_tokens,
            "prompt_s": self._prompt_s,
            "first_token_s": self._first - self._started if self._first else 0.0,
            "tokens": self.tokens,
            "tokens_per_s": (self.tokens - 1) / decoding if decoding > 0 else 0.0,
        }

    def _generate(self) -> Generator[Piece, None, None]:
        sampler = self._engine.backend.sampler(self._sampling)
        begun = time.perf_counter()
        try:
            while not self._cancelled():
                step = self._engine.step(self._sequence, sampler, self, self._cancelled)
                if step is None:
                    return
                self._clock(begun)
                if step.is_end:
                    yield self._piece(self._flow.finish(), "stop", 0)
                    return
                self.tokens += 1
                self._last = time.perf_counter()
                text = self._flow.add(step.data)
                if self._flow.stopped:
                    yield self._piece(text, "stop")
                    return
                if self.tokens == self._limit:
                    text += self._flow.finish()
                    yield self._piece(text, "stop" if self._flow.stopped else "length")
                    return
                self._sequence.append(step.token)
                yield Piece(text)
        finally:
            sampler.close()

    def _piece(self, text: str, finish_reason: str, tokens: int = 1) -> Piece:
        self.finish_reason = finish_reason
        return Piece(text, finish_reason, tokens)

    def _clock(self, begun: float) -> None:
        if not self._first:
            self._first = self._last = time.perf_counter()
            self._prompt_s = self._first - begun


def open_engine(path: Path, *, context: int, threads: int | None) -> Engine:
    """Check a file, open it, and be ready to chat."""
    if context < 1:
        raise BadInput(f"the context is {context} tokens; it must be 1 or more")
    if threads is not None and threads < 1:
        raise BadInput(f"threads is {threads}; it must be 1 or more")
    check(path)
    from runtime.backends.llama_cpp import LlamaCpp

    backend = LlamaCpp(path, context=context, threads=threads or physical_cores())
    try:
        return Engine(path.stem, backend)
    except KindredError as error:
        backend.close()
        raise type(error)(f"{path}: {error}") from error


def plain_messages(messages: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """The same messages, once each has a known role and a text that can be encoded."""
    if not messages:
        raise BadInput("there are no messages; give at least one")
    for number, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise BadInput(f"messages.{number}.role is {role!r}; use one of {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise BadInput(f"messages.{number}.content is no text")
        if any("\ud800" <= character <= "\udfff" for character in content):
            raise BadInput(f"messages.{number}.content holds half a surrogate pair: no valid text")
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def checked(sampling: Sampling) -> Sampling:
    """The same sampling, once every number is in its range."""
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise BadInput(f"temperature is {sampling.temperature}; it must be 0 or more")
    for name in ("top_p", "min_p"):
        if not 0 <= getattr(sampling, name) <= 1:
            raise BadInput(f"{name} is {getattr(sampling, name)}; it must be between 0 and 1")
    if not (math.isfinite(sampling.repetition_penalty) and sampling.repetition_penalty > 0):
        raise BadInput(f"repetition_penalty is {sampling.repetition_penalty}; it must be over 0")
    if sampling.top_k < 0:
        raise BadInput(f"top_k is {sampling.top_k}; it must be 0 (all tokens) or more")
    return sampling


def common_length(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences share at their start."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(first), len(second)))


def _close(backend: Backend, lock: threading.Lock) -> None:
    with lock:
        backend.close()
