"""What both stand-ins share: attempts, fates, answers, and the counts that tests read.

In: requests as `Asked`. Out: a `Given`, or the `Failure` of this attempt.
"""

import asyncio
import threading
from collections import Counter
from dataclasses import dataclass, field

from fastapi import Request

from distill.dev.answers import Asked, answer, pieces
from distill.dev.faults import Ending, Failure, Faults

COUNTED = (
    *("requests", "answered", "repeated", "http_429", "http_500", "timeout"),
    *("stop", "length", "blocked", "empty", "prompt_tokens", "tokens"),
    *("batches", "rows", "rows_done", "rows_failed", "rows_dropped", "rows_expired"),
)


@dataclass(frozen=True)
class Given:
    """An answer that would have been paid for."""

    text: str
    ending: Ending
    prompt_tokens: int
    tokens: int


@dataclass
class Service:
    """State of one server; `paid` counts the answers by request digest."""

    faults: Faults
    key: str | None = None
    models: tuple[str, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    paid: Counter[str] = field(default_factory=Counter)
    attempts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    async def ask(self, asked: Asked, request: Request) -> Given | Failure:
        """Wait as long as the real service would, then answer or fail."""
        self.count("requests")
        attempt = self.attempt(asked.digest)
        await asyncio.sleep(self.faults.latency_ms / 1000)
        return await self.trouble(asked.digest, attempt, request) or self.given(asked, attempt)

    async def trouble(self, digest: str, attempt: int, request: Request) -> Failure | None:
        """How this attempt fails; one that is never answered returns when nobody waits for it."""
        failure = self.faults.failure(digest, attempt)
        if failure:
            self.count(failure)
        if failure == "timeout":
            await self.hold(request)
        return failure

    def attempt(self, digest: str) -> int:
        """The number of this attempt at a request, from 0."""
        with self.lock:
            self.attempts[digest] += 1
            return self.attempts[digest] - 1

    def given(self, asked: Asked, attempt: int) -> Given:
        ending = self.faults.ending(asked.digest, attempt)
        said = pieces(answer(asked))
        if ending == "length":
            said = said[: (len(said) + 1) // 2]
        elif ending != "stop":
            said = []
        if asked.max_tokens is not None and len(said) > asked.max_tokens:
            said, ending = said[: asked.max_tokens], "length"
        self.pay(asked, ending, len(said))
        return Given("".join(said), ending, asked.prompt_tokens, len(said))

    def pay(self, asked: Asked, ending: Ending, tokens: int) -> None:
        with self.lock:
            self.counts["answered"] += 1
            self.counts[ending] += 1
            self.counts["prompt_tokens"] += asked.prompt_tokens
            self.counts["tokens"] += tokens
            self.counts["repeated"] += self.paid[asked.digest] > 0
            self.paid[asked.digest] += 1

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    async def hold(self, request: Request) -> None:
        """Keep the client waiting until it leaves, or the server stops."""
        gone = asyncio.ensure_future(left(request))
        stopped = asyncio.ensure_future(self.stopping.wait())
        _, pending = await asyncio.wait({gone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()

    def shown(self) -> dict[str, int]:
        """GET /counts: `answered` were paid for, `repeated` of them for the second time or more."""
        with self.lock:
            found = {name: self.counts[name] for name in COUNTED}
            return {**found, "distinct": len(self.paid)}


async def left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue
