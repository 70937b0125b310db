"""What every chat takes and gives: messages, a `Sampling`, a `Reply` and its outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from distill.core.errors import BadInput

Messages = Sequence[Mapping[str, str]]
Finish = Literal["answered", "blocked", "cut", "empty"]
BLOCKED = frozenset({"content_filter", "safety", "refusal"})


class RefusedRequest(BadInput):
    """The endpoint works, and will not take this one request."""


@dataclass(frozen=True)
class Sampling:
    """How to draw a reply; temperature 0 is greedy, None sends none (some models refuse one).

    `sample` numbers draws of the same request: each is a call of its own, with its own seed.
    """

    max_tokens: int = 256
    temperature: float | None = 0.0
    seed: int | None = None
    sample: int = 0

    @property
    def sent_seed(self) -> int | None:
        return None if self.seed is None else self.seed + self.sample


@dataclass(frozen=True)
class Reply:
    """What came back; `model` is the version that the endpoint says it used.

    `tokens` are those that were paid for, unseen reasoning included.
    """

    text: str
    model: str
    finish_reason: str
    tokens: int
    first_token_s: float
    tokens_per_s: float
    prompt_tokens: int = 0

    @property
    def outcome(self) -> Finish:
        """Whether this is an answer: a block, a cut text and silence were paid for and are none."""
        if self.finish_reason in BLOCKED:
            return "blocked"
        if self.finish_reason == "length":
            return "cut"
        return "answered" if self.text.strip() else "empty"


class Chat(Protocol):
    """Anything that answers messages."""

    @property
    def name(self) -> str:
        """What answers, and where."""
        ...

    @property
    def provider(self) -> str:
        """The line of the table that it came from: openai, gemini, transformers, scripted."""
        ...

    @property
    def model(self) -> str:
        """What was asked for; with the provider it names who answers in the ledger."""
        ...

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        """Answer the messages; safe to call from several threads."""
        ...
