"""One reply, from its first token to its finish reason.

`Task` is what the computing thread works on; `Reply` is the reader's end of it. Dropping or
closing the reply ends the task within one step.
"""

import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

from runtime.backends import Sampler
from runtime.text import TextFlow

if TYPE_CHECKING:
    from runtime.engine_batch import Batcher


class Chance(NamedTuple):
    """A token, the bytes that it adds to the text, and the log-probability that it had."""

    token: int
    data: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen token and the likeliest ones; by the model alone, before penalties and cuts."""

    chosen: Chance
    likeliest: tuple[Chance, ...]


class Piece(NamedTuple):
    """What one token added; `text` may be empty while a character or stop string is open.

    `choices` has one entry per token where log-probabilities were asked for.
    """

    text: str
    finish_reason: str | None = None
    tokens: int = 1
    choices: tuple[Choice, ...] = ()


# What tells a reader, who may be waiting, that the next token is for its own thread to compute.
YOURS = Piece("", tokens=0)
# Pieces, then one last item: None, or the exception that ended the reply.
Item = Piece | Exception | None


class Task:
    """What is known of a reply while it is computed; only the computing thread changes it."""

    def __init__(
        self,
        prompt: list[int],
        limit: int,
        sampler: Sampler,
        flow: TextFlow,
        cancelled: Callable[[], bool],
        logprobs: int | None,
    ) -> None:
        self.sequence = prompt  # grows with the reply
        self.prompt_tokens, self.cached_tokens, self.tokens = len(prompt), 0, 0
        self.finish_reason: str | None = None
        self.limit, self.sampler, self.flow, self.logprobs = limit, sampler, flow, logprobs
        self.cancelled = cancelled
        self.dropped = self.awaited = False
        self.deliver: Callable[[Item], None] = _nobody
        self.asked_s = time.perf_counter()
        self.begun_s = self.first_s = self.last_s = 0.0

    def unwanted(self) -> bool:
        """Whether its reader has left; a reader who cannot tell has."""
        try:
            return self.dropped or self.cancelled()
        except Exception:
            return True

    def begin(self, cached_tokens: int) -> None:
        """A sequence was found that holds `cached_tokens` of the prompt."""
        self.begun_s, self.cached_tokens = time.perf_counter(), cached_tokens

    def clock(self) -> None:
        """A token was chosen."""
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s

    def take(self, token: int, data: bytes, choices: tuple[Choice, ...]) -> bool:
        """Add a token that is no end token; False when it was the last one."""
        self.tokens += 1
        text = self.flow.add(data)
        if self.flow.stopped:
            return self.finish(text, "stop", 1, choices)
        if self.tokens == self.limit:
            text += self.flow.finish()
            return self.finish(text, "stop" if self.flow.stopped else "length", 1, choices)
        self.sequence.append(token)
        self.deliver(Piece(text, None, 1, choices))
        return True

    def finish(
        self, text: str, reason: str, tokens: int = 0, choices: tuple[Choice, ...] = ()
    ) -> bool:
        self.finish_reason = reason
        self.deliver(Piece(text, reason, tokens, choices))
        return False

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows."""
        self.sampler.close()
        self.deliver(error)


class Reply:
    """An iterator of pieces; the last one has a finish reason.

    It begins when it is first read. Beside other replies, or begun by `begin`, it goes on without
    waiting for its reader; alone, its reader's thread computes each token as it asks for it. What
    was computed before it was cancelled and not read is not told.
    `prompt_tokens`, `cached_tokens` (of the prompt, from an earlier chat), `tokens` and
    `finish_reason` are those of the computation; `timings()` is in seconds.
    """

    def __init__(self, task: Task, engine: object, batcher: "Batcher") -> None:
        self._task, self._batcher = task, batcher
        self._engine = engine  # which stays open as long as a reply of it may be read
        self._items: SimpleQueue[Item] = SimpleQueue()
        self._begun = self._ended = False
        self._unbegun = weakref.finalize(self, task.sampler.close)
        self._drop = weakref.finalize(self, batcher.drop, task)

    @property
    def prompt_tokens(self) -> int:
        return self._task.prompt_tokens

    @property
    def cached_tokens(self) -> int:
        return self._task.cached_tokens

    @property
    def tokens(self) -> int:
        return self._task.tokens

    @property
    def finish_reason(self) -> str | None:
        return self._task.finish_reason

    def begin(self, deliver: Callable[[Item], None] | None = None) -> None:
        """Compute from now on; `deliver` is called in the computing thread, and must not wait."""
        self._begun = True
        self._unbegun.detach()  # from here on the sampler is the computing thread's
        self._task.deliver = deliver or self._items.put
        self._batcher.begin(self._task)

    def __iter__(self) -> Iterator[Piece]:
        return self

    def __next__(self) -> Piece:
        if self._ended:
            raise StopIteration
        task = self._task
        if not self._begun:
            task.awaited = True
            self.begin()
        item: Item = YOURS
        while item is YOURS:
            if not self._items.empty() or not self._batcher.write(task):
                item = self._items.get()
        if isinstance(item, Piece) and not task.unwanted():
            return item
        self._ended = True
        self._drop()
        if isinstance(item, Exception):
            raise item
        raise StopIteration

    def close(self) -> None:
        """Stop here; no token is computed after the present one."""
        self._ended = True
        self._unbegun()
        self._drop()

    def timings(self) -> dict[str, float]:
        """Speed is that of the tokens after the first, so 0 where there is no second one."""
        task = self._task
        decoding = task.last_s - task.first_s
        return {
            "prompt_tokens": task.prompt_tokens,
            "prompt_s": task.first_s - task.begun_s if task.first_s else 0.0,
            "first_token_s": task.first_s - task.asked_s if task.first_s else 0.0,
            "tokens": task.tokens,
            "tokens_per_s": (task.tokens - 1) / decoding if decoding > 0 else 0.0,
        }


def _nobody(item: Item) -> None:
    """Where the pieces of a reply go that has not begun."""
