"""The numbers around a choice: those that shape it, checked, and the chances that tokens had.

In: a `Sampling` as it was asked for, or logits `[V]` over the vocabulary. Out: the same `Sampling`,
or log-probabilities. Refused (BadInput): what no sampler can use.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from distill.core.errors import BadInput
from runtime.backends import Sampling

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray

MAX_BIAS = 100.0
MAX_LOGPROBS = 20
REPETITION_PENALTIES = (0.01, 10.0)  # smaller ones divide logits beyond what floats hold


def checked(sampling: Sampling, vocabulary: int) -> Sampling:
    """The same sampling, once every number is in its range."""
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise BadInput(f"temperature is {sampling.temperature}; it must be 0 or more")
    for name in ("top_p", "min_p"):
        if not 0 <= getattr(sampling, name) <= 1:
            raise BadInput(f"{name} is {getattr(sampling, name)}; it must be between 0 and 1")
    least, most = REPETITION_PENALTIES
    if not least <= sampling.repetition_penalty <= most:
        raise BadInput(
            f"repetition_penalty is {sampling.repetition_penalty}; it must be between {least:g} "
            f"and {most:g}"
        )
    for name in ("presence_penalty", "frequency_penalty"):
        if not -2 <= getattr(sampling, name) <= 2:
            raise BadInput(f"{name} is {getattr(sampling, name)}; it must be between -2 and 2")
    if not 0 <= sampling.top_k < 2**31:
        raise BadInput(f"top_k is {sampling.top_k}; it must be 0 (all tokens) or more, below 2^31")
    if sampling.grammar is not None and sampling.json_schema is not None:
        raise BadInput("a grammar and a JSON schema are given; give one of them")
    check_bias(sampling, vocabulary)
    return sampling


def check_bias(sampling: Sampling, vocabulary: int) -> None:
    for token, bias in sampling.logit_bias.items():
        if not 0 <= token < vocabulary:
            raise BadInput(
                f"logit_bias names token {token}; this file has tokens 0 to {vocabulary - 1}"
            )
        if not -MAX_BIAS <= bias <= MAX_BIAS:
            raise BadInput(
                f"logit_bias of token {token} is {bias}; it must be between "
                f"{-MAX_BIAS:.0f} and {MAX_BIAS:.0f}"
            )


def checked_logprobs(logprobs: int | None) -> int | None:
    """How many of the likeliest tokens are told with each token; None tells nothing."""
    if logprobs is not None and not 0 <= logprobs <= MAX_LOGPROBS:
        raise BadInput(f"logprobs is {logprobs}; it must be between 0 and {MAX_LOGPROBS}")
    return logprobs


def log_probabilities(logits_V: "NDArray[float32]", tokens: Sequence[int]) -> list[float]:
    """Natural log-probabilities of some tokens."""
    import numpy as np

    values_V = logits_V.astype(np.float64)
    highest = float(values_V.max())
    total = highest + math.log(float(np.exp(values_V - highest).sum()))
    return [float(values_V[token]) - total for token in tokens]


def likeliest(logits_V: "NDArray[float32]", count: int) -> list[int]:
    """The `count` tokens with the highest logits, the highest first."""
    import numpy as np

    count = min(count, len(logits_V))
    found = np.argpartition(-logits_V, range(count))[:count] if count else ()
    return [int(token) for token in found]
