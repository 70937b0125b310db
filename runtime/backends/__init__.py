"""What the engine asks of a file format: tokens in, the next token out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen; temperature 0 takes the likeliest.

    `repetition_penalty` divides the logits of tokens that the reply has used (arXiv 1909.05858);
    what the person wrote is not penalized, for a reply should take it up.
    """

    temperature: float = 0.7
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    seed: int = 0
    repetition_penalty: float = 1.0


class Sampler(Protocol):
    """A choice of next tokens with its own random state."""

    def next(self) -> int: ...

    def close(self) -> None: ...


class Backend(Protocol):
    """One open file with one cached sequence.

    `control` maps the text of every control token to its id; `begin` is the token that starts
    every prompt, where the file wants one. `repetition_penalty` is what the file recommends.
    """

    context: int
    template: str | None
    control: Mapping[str, int]
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

    def keep(self, count: int) -> int:
        """Forget what is cached beyond `count` tokens; return how many stayed."""
        ...

    def evaluate(self, tokens: Sequence[int]) -> None:
        """Append at most `chunk` tokens to the cached sequence."""
        ...

    @property
    def chunk(self) -> int: ...

    def sampler(self, sampling: Sampling) -> Sampler: ...

    def close(self) -> None: ...
