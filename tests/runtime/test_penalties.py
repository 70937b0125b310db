"""Biases and penalties in place: llama.cpp's own arithmetic, and nothing left behind."""

import ctypes

import llama_cpp.llama_cpp as native
import numpy as np
import pytest

from runtime.backends import PENALTY_TOKENS, Sampling
from runtime.backends.llama_cpp_sampling import CANDIDATE
from runtime.backends.onnx_sampling import NumpySampler
from runtime.penalties import Penalties, put_back

SIZE = 500


def of_llama_cpp(logits, said, *, remembered, repetition=1.0, often=0.0, once=0.0):
    """The logits after llama.cpp's sampler of penalties."""
    sampler = native.llama_sampler_init_penalties(SIZE, remembered, repetition, often, once)
    for token in said:
        native.llama_sampler_accept(sampler, token)
    candidates = np.zeros(SIZE, CANDIDATE)
    candidates["token"], candidates["logit"] = np.arange(SIZE), logits
    data = candidates.ctypes.data_as(native.llama_token_data_p)
    array = native.llama_token_data_array(data, SIZE, -1, False)
    native.llama_sampler_apply(sampler, ctypes.byref(array))
    native.llama_sampler_free(sampler)
    return candidates["logit"]


@pytest.mark.parametrize("said", [[], [3], [7, 7, 9, 7], list(range(40, 150)) * 2])
@pytest.mark.parametrize("repetition", [1.0, 1.35, 0.8])
@pytest.mark.parametrize(("often", "once"), [(0.0, 0.0), (0.7, 0.0), (-0.5, 1.5)])
def test_logits_are_those_of_llama_cpp_and_then_the_models_own_again(said, repetition, often, once):
    own = np.random.default_rng(0).normal(size=SIZE).astype(np.float32) * 5
    expected = of_llama_cpp(own, said, remembered=PENALTY_TOKENS, repetition=repetition)
    expected = of_llama_cpp(expected, said, remembered=len(said) + 1, often=often, once=once)
    penalties = Penalties(
        Sampling(repetition_penalty=repetition, frequency_penalty=often, presence_penalty=once)
    )
    for token in said:
        penalties.remember(token)
    logits = own.copy()
    before = penalties.apply(memoryview(logits))
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=1e-6)
    put_back(memoryview(logits), before)
    assert np.array_equal(logits, own)
    assert penalties.none == (repetition == 1 and not often and not once)


def test_a_bias_is_added_before_the_penalty_multiplies():
    penalties = Penalties(Sampling(logit_bias={2: -3.0, 4: 1.0}, repetition_penalty=2.0))
    penalties.remember(2)
    logits = np.array([1.0, 1.0, 1.0, 1.0, 1.0], np.float32)
    own = penalties.apply(memoryview(logits))
    assert logits.tolist() == [1.0, 1.0, -4.0, 1.0, 2.0]
    put_back(memoryview(logits), own)
    assert logits.tolist() == [1.0] * 5


def test_a_mistake_in_between_leaves_the_logits_as_they_were(monkeypatch):
    def choose(self, logits):
        assert logits[0] == 5.0
        raise ZeroDivisionError

    monkeypatch.setattr(NumpySampler, "_choose", choose)
    logits = np.array([0.0, 1.0, 2.0], np.float32)
    with pytest.raises(ZeroDivisionError):
        NumpySampler(lambda row: logits, Sampling(logit_bias={0: 5.0})).next(0)
    assert logits.tolist() == [0.0, 1.0, 2.0]
