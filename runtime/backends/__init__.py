"""What the engine asks of a file format: tokens of several sequences in, the next tokens out.

A backend is called by one thread at a time. It holds `sequences` sequences, numbered from 0, that
are empty at first and share room for `cells` tokens; the engine decides what each of them holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

PENALTY_TOKENS = 64


class CacheFull(Exception):
    """No room for the tokens of one `decode`; every sequence holds what it held before."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, in this order; temperature 0 takes the likeliest.

    1. `logit_bias` is added to the logits. 2. `repetition_penalty` divides positive logits of the
    last `PENALTY_TOKENS` tokens of the reply, and multiplies negative ones (arXiv 1909.05858).
    3. `presence_penalty` is subtracted once, `frequency_penalty` as often as the reply used a
    token. 4. `grammar` (GBNF) or `json_schema` (JSON text) forbids tokens. 5. `top_k` (0: all),
    6. `top_p`, 7. `min_p` cut; 8. `temperature` divides, and one of the rest is drawn.
    Penalties look at the reply alone, for it should take up what the person wrote.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    seed: int = 0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    grammar: str | None = None
    json_schema: str | None = None


class Work(NamedTuple):
    """At least one token to append to a sequence that holds `position` tokens already.

    With `wants_logits`, those after the last of these tokens are needed.
    """

    sequence: int
    tokens: Sequence[int]
    position: int
    wants_logits: bool = False


class Sampler(Protocol):
    """The choices of one reply, with a random state and a memory of their own."""

    def next(self, row: int) -> int:
        """Choose by the logits of item `row` of the last `decode`, and remember the choice."""
        ...

    def close(self) -> None: ...


class Backend(Protocol):
    """One open file and what it has cached.

    `context` is how many tokens one sequence may hold, `cells` how many all of them together (a
    copied beginning counts once where the format can share it), `vocabulary` how many tokens there
    are. `control` maps the text of every control token to its id, and `swallowing` holds those that
    take the whitespace behind them; `begin` is the token that starts every prompt, where the file
    wants one. `repetition_penalty` is what the file recommends.
    """

    context: int
    sequences: int
    cells: int
    vocabulary: int
    template: str | None
    control: Mapping[str, int]
    swallowing: frozenset[int]
    begin: int | None
    begin_text: str
    end_text: str
    repetition_penalty: float

    def encode(self, text: str) -> list[int]:
        """Tokens of plain text: control tokens in it are not parsed."""
        ...

    def bytes_of(self, token: int) -> bytes:
        """What a token adds to the text; nothing for a control token."""
        ...

    def is_end(self, token: int) -> bool: ...

    @property
    def chunk(self) -> int:
        """Tokens that one `decode` takes at most, all its work together."""
        ...

    def decode(self, work: Sequence[Work]) -> None:
        """Append the tokens of each item to its sequence, all in one pass; no sequence twice.

        Raises CacheFull when `cells` do not suffice.
        """
        ...

    def logits(self, row: int) -> "NDArray[float32]":
        """The logits `[V]` of item `row` of the last `decode`; valid until the next one."""
        ...

    def keep(self, sequence: int, count: int) -> int:
        """Forget what a sequence holds beyond `count` tokens; return how many stayed."""
        ...

    def copy(self, source: int, target: int, count: int) -> int:
        """Let an empty sequence begin as another does; return how many tokens it holds now."""
        ...

    def sampler(self, sampling: Sampling) -> Sampler:
        """Raises BadInput or Unsupported for a grammar or schema that cannot be used."""
        ...

    def close(self) -> None: ...
