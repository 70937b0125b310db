"""llama.cpp's own samplers after our penalties, in the order that `Sampling` tells.

In: a context and a `Sampling`. Out: a `Sampler`. Refused: a grammar or schema that cannot be used
(BadInput).
"""

import ctypes
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from runtime.backends import Sampling
from runtime.backends.llama_cpp_grammar import ROOT, checked, grammar_of
from runtime.penalties import Penalties

GREEDY_BELOW = 1e-6  # logits divided by less would overflow
CANDIDATE = np.dtype([("token", np.int32), ("logit", np.float32), ("chance", np.float32)])


class NativeSampler:
    """A chain of samplers for one reply."""

    def __init__(self, context: Any, places: list[int], end: int, sampling: Sampling) -> None:
        self._context, self._places, self._end = context, places, end
        self._model = native.llama_get_model(context)
        self._vocab = native.llama_model_get_vocab(self._model)
        self._size = native.llama_vocab_n_tokens(self._vocab)
        self._grammar = self._new_grammar(sampling)
        self._penalties = Penalties(sampling)
        self._chain = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        for link in links(sampling):
            native.llama_sampler_chain_add(self._chain, link)

    def _new_grammar(self, sampling: Sampling) -> Any:
        if sampling.grammar is None and sampling.json_schema is None:
            return None
        text = (
            grammar_of(sampling.json_schema)
            if sampling.grammar is None and sampling.json_schema is not None
            else checked(sampling.grammar or "")
        )
        made = native.llama_sampler_init_grammar(self._vocab, text.encode(), ROOT.encode())
        if not made:
            raise BadInput("the grammar cannot be used: llama.cpp finds a rule that begins itself")
        self._candidates = np.zeros(self._size, CANDIDATE)
        self._tokens = np.arange(self._size, dtype=np.int32)
        return made

    def next(self, row: int) -> int:
        place = self._places[row]
        if self._penalties.none and self._grammar is None:
            return self._sampled(place)
        logits = native.llama_get_logits_ith(self._context, place)
        if self._grammar is None:
            return self._penalties.around(logits, lambda: self._sampled(place))
        logits_V = np.ctypeslib.as_array(logits, (self._size,))
        return self._penalties.around(logits, lambda: self._within_grammar(logits_V))

    def _sampled(self, place: int) -> int:
        return int(native.llama_sampler_sample(self._chain, self._context, place))

    def _within_grammar(self, logits_V: NDArray[np.float32]) -> int:
        candidates = self._candidates
        candidates["token"] = self._tokens
        candidates["logit"] = logits_V
        data = candidates.ctypes.data_as(native.llama_token_data_p)
        array = native.llama_token_data_array(data, self._size, -1, False)
        native.llama_sampler_apply(self._grammar, ctypes.byref(array))
        if not np.isfinite(candidates["logit"]).any():
            return self._end  # accepting a token that does not fit would abort the process
        native.llama_sampler_apply(self._chain, ctypes.byref(array))
        token = int(array.data[array.selected].id)
        native.llama_sampler_accept(self._chain, token)
        if not native.llama_vocab_is_eog(self._vocab, token):
            native.llama_sampler_accept(self._grammar, token)
        return token

    def close(self) -> None:
        for sampler in (self._chain, self._grammar):
            if sampler is not None:
                native.llama_sampler_free(sampler)
        self._chain = self._grammar = None


def links(sampling: Sampling) -> list[Any]:
    """What follows the penalties: cuts and the draw."""
    found = []
    if sampling.temperature < GREEDY_BELOW:
        return [native.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        found.append(native.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        found.append(native.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        found.append(native.llama_sampler_init_min_p(sampling.min_p, 1))
    found.append(native.llama_sampler_init_temp(sampling.temperature))
    found.append(native.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
    return found
