"""Biases and penalties of one reply, on the logits that a backend holds.

In: a `Sampling`, the tokens as they are chosen, logits `[V]`. Out: the same logits, changed where
a bias or penalty says so, until they are put back. Refused: nothing.

Only the tokens that are named or were used are touched. llama.cpp's own penalties look every
token of the vocabulary up in a table, which costs more than a small model's attention.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from runtime.backends import PENALTY_TOKENS, Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Penalties:
    """What `Sampling` says in its steps 1 to 3, with a memory of the reply.

    `none`: nothing is ever changed, so that nobody need ask.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._repetition = np.float32(sampling.repetition_penalty)
        self._often, self._once = sampling.frequency_penalty, sampling.presence_penalty
        self._counted = bool(self._often or self._once)
        self._biased = np.array(list(sampling.logit_bias), np.intp)
        self._biases = np.array(list(sampling.logit_bias.values()), np.float32)
        self.none = self._repetition == 1 and not self._counted and not len(self._biased)
        self._ring = np.zeros(PENALTY_TOKENS, np.intp)  # the last tokens, in no order
        self._tokens = 0
        self._counts: Counter[int] = Counter()

    def remember(self, token: int) -> None:
        self._ring[self._tokens % PENALTY_TOKENS] = token
        self._tokens += 1
        self._counts[token] += 1

    @contextmanager
    def applied(self, logits_V: "NDArray[np.float32]") -> Iterator[None]:
        """Change the logits in place; afterwards they are the model's own again."""
        recent = self._ring[: self._tokens]
        used = np.array([*self._counts], np.intp) if self._counted else recent
        touched = np.concatenate((self._biased, used))
        own = logits_V[touched]
        try:
            logits_V[self._biased] += self._biases
            if self._repetition != 1:
                # A token that stands there twice is written twice, with the same value.
                values, by = logits_V[recent], self._repetition
                logits_V[recent] = np.where(values > 0, values / by, values * by)
            if self._counted:
                counts = np.array([*self._counts.values()], np.float32)
                logits_V[used] -= np.float32(self._often) * counts + np.float32(self._once)
            yield
        finally:
            logits_V[touched] = own
