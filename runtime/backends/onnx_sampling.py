"""The choice of a next token in numpy, in the order that `Sampling` tells.

In: logits `[V]` and a `Sampling`. Out: a token. Refused: a grammar or schema (Unsupported).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import Unsupported
from runtime.backends import Sampling
from runtime.penalties import Penalties

GREEDY_BELOW = 1e-6  # logits divided by less would overflow
Logits = NDArray[np.float32]


class NumpySampler:
    """The choices of one reply."""

    def __init__(self, logits: Callable[[int], Logits], sampling: Sampling) -> None:
        if sampling.grammar is not None or sampling.json_schema is not None:
            raise Unsupported("an ONNX folder is run without grammars and schemas; use a GGUF file")
        self._logits, self._sampling = logits, sampling
        self._random = np.random.default_rng(sampling.seed & 0xFFFFFFFF)
        self._penalties = Penalties(sampling)

    def next(self, row: int) -> int:
        """Choose by the logits of item `row` of the last pass, and remember the choice."""
        logits_V = self._logits(row)
        view = logits_V.data.cast("B").cast("f")
        return self._penalties.around(view, lambda: self._choose(logits_V))

    def _choose(self, logits_V: Logits) -> int:
        if self._sampling.temperature < GREEDY_BELOW:
            return int(logits_V.argmax())
        tokens, logits = candidates(logits_V, self._sampling)
        chances = softmax(logits / self._sampling.temperature).cumsum()
        drawn = np.searchsorted(chances, self._random.random() * chances[-1], side="right")
        return int(tokens[min(drawn, len(tokens) - 1)])

    def close(self) -> None:
        """Nothing to free."""


def candidates(logits_V: Logits, sampling: Sampling) -> tuple[NDArray[np.intp], Logits]:
    """What top-k, top-p and min-p leave, the likeliest first: tokens and their logits."""
    count = len(logits_V)
    kept = min(sampling.top_k or count, count)
    tokens = np.arange(count) if kept == count else np.argpartition(-logits_V, kept - 1)[:kept]
    tokens = tokens[np.argsort(-logits_V[tokens], kind="stable")]
    logits = logits_V[tokens]
    if sampling.top_p < 1:
        enough = int(np.searchsorted(softmax(logits).cumsum(), sampling.top_p)) + 1
        tokens, logits = tokens[:enough], logits[:enough]
    if sampling.min_p > 0:
        likely = logits >= logits[0] + np.log(sampling.min_p)
        tokens, logits = tokens[likely], logits[likely]
    return tokens, logits


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Chances of logits whose first is the largest."""
    weights = np.exp((logits - logits[0]).astype(np.float64))
    chances: NDArray[np.float64] = weights / weights.sum()
    return chances
