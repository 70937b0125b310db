"""Biases and penalties of one reply, on the logits that a backend holds.

In: a `Sampling`, the tokens as they are chosen, logits that can be read and written by token. Out:
the same logits, changed where a bias or penalty says so, and what they were. Refused: nothing.

Only the tokens that are named or were used are touched: llama.cpp's own penalties look every token
of the vocabulary up in a table. There is no numpy in it, since a few dozen numbers one by one are
sooner done than code is fetched that a pass through the model has driven out of the caches.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol

import numpy as np

from runtime.backends import PENALTY_TOKENS, Sampling


class Logits(Protocol):
    """A pointer to floats, or a view of memory."""

    def __getitem__(self, token: int, /) -> float: ...

    def __setitem__(self, token: int, value: float, /) -> None: ...


class Penalties:
    """What `Sampling` says in its steps 1 to 3, with a memory of the reply.

    `none`: nothing is ever changed, so that nobody need ask.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._biases = dict(sampling.logit_bias)
        self._repetition = float(np.float32(sampling.repetition_penalty))
        self._often, self._once = sampling.frequency_penalty, sampling.presence_penalty
        self._counted = bool(self._often or self._once)
        self.none = not (self._biases or self._counted) and self._repetition == 1
        self._recent: deque[int] = deque(maxlen=PENALTY_TOKENS)
        self._counts: Counter[int] = Counter()

    def around(self, logits: Logits, choose: Callable[[], int]) -> int:
        """Choose with the logits changed, put them back, and remember the choice."""
        if self.none:
            return choose()
        own = self.apply(logits)
        try:
            token = choose()
        finally:
            put_back(logits, own)
        self.remember(token)
        return token

    def remember(self, token: int) -> None:
        self._recent.append(token)
        self._counts[token] += 1

    def apply(self, logits: Logits) -> list[tuple[int, float]]:
        """Change the logits in place; returns the tokens that may have changed, as they were."""
        recent: Iterable[int] = set(self._recent) if self._repetition != 1 else ()
        used = self._counts if self._counted else recent
        own = [(token, logits[token]) for token in (*self._biases, *used)]
        for token, bias in self._biases.items():
            logits[token] += bias
        by = self._repetition
        for token in recent:
            value = logits[token]
            logits[token] = value / by if value > 0 else value * by
        if self._counted:
            for token, count in self._counts.items():
                logits[token] -= self._often * count + self._once
        return own


def put_back(logits: Logits, own: Iterable[tuple[int, float]]) -> None:
    """The logits are the model's own again."""
    for token, value in own:
        logits[token] = value
