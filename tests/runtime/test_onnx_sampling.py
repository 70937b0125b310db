"""The numpy sampler: every step of `Sampling`, in its order, against the obvious arithmetic."""

from collections import Counter

import numpy as np
import pytest

from distill.core.errors import Unsupported
from runtime.backends import Sampling
from runtime.backends.onnx_sampling import NumpySampler, candidates

LOGITS = np.array([1.0, 3.0, -2.0, 2.5, 0.0, 3.5], np.float32)
WIDE = Sampling(temperature=1.0, top_p=1.0, top_k=0, min_p=0.0)


def sampler(logits=LOGITS, **changes):
    return NumpySampler(lambda row: logits, Sampling(**{**vars(WIDE), **changes}))


def drawn(count=4000, **changes):
    """Shares of the tokens that many draws gave."""
    chooser = sampler(**changes)
    found = Counter(chooser.next(0) for _ in range(count))
    return np.array([found[token] / count for token in range(len(LOGITS))])


def shares(logits, kept):
    weights = np.where(np.isin(np.arange(len(logits)), kept), np.exp(logits), 0)
    return weights / weights.sum()


def test_temperature_zero_takes_the_likeliest():
    assert sampler(temperature=0).next(0) == 5
    assert sampler(temperature=1e-9).next(0) == 5


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"top_k": 2}, [1, 5]),
        ({"top_p": 0.6}, [1, 5]),
        ({"top_p": 0.0}, [5]),
        ({"min_p": 0.3}, [1, 3, 5]),
        ({"min_p": 1.0}, [5]),
        ({"top_k": 3, "top_p": 0.6}, [1, 5]),
    ],
)
def test_draws_follow_the_chances_of_what_is_kept(changes, kept):
    assert np.abs(drawn(**changes) - shares(LOGITS, kept)).max() < 0.03


def test_temperature_divides_after_the_cuts():
    found = drawn(top_p=0.6, temperature=3.0)
    assert np.abs(found - shares(LOGITS / 3, [1, 5])).max() < 0.03


def test_candidates_are_those_of_a_full_sort_over_a_large_vocabulary():
    logits = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    tokens, kept = candidates(logits, Sampling(top_k=40, top_p=1.0, min_p=0.0))
    assert tokens.tolist() == np.argsort(-logits)[:40].tolist()
    assert (kept == logits[tokens]).all()


def test_the_same_seed_draws_the_same_and_another_seed_another():
    one, again, other = ([s.next(0) for _ in range(30)] for s in map(seeded, (7, 7, 8)))
    assert one == again != other


def seeded(seed):
    return sampler(seed=seed)


def test_a_repetition_penalty_divides_positive_and_multiplies_negative_logits():
    logits = np.array([2.0, 1.9, -1.0, -1.2], np.float32)
    chooser = sampler(logits, temperature=0, repetition_penalty=1.5)
    assert [chooser.next(0), chooser.next(0)] == [0, 1]
    low = np.array([-1.0, -1.2], np.float32)
    chooser = sampler(low, temperature=0, repetition_penalty=1.5)
    assert [chooser.next(0), chooser.next(0)] == [0, 1]
    assert logits.tolist() == pytest.approx([2.0, 1.9, -1.0, -1.2])


def test_presence_counts_once_and_frequency_each_time():
    logits = np.array([1.0, 0.0], np.float32)
    once = sampler(logits, temperature=0, presence_penalty=0.4)
    assert [once.next(0) for _ in range(4)] == [0, 0, 0, 0]
    often = sampler(logits, temperature=0, frequency_penalty=0.4)
    assert [often.next(0) for _ in range(4)] == [0, 0, 0, 1]


def test_a_bias_is_added_before_anything_else():
    assert sampler(temperature=0, logit_bias={2: 100.0}).next(0) == 2
    assert sampler(top_k=1, logit_bias={5: -100.0}).next(0) == 1


@pytest.mark.parametrize("changes", [{"grammar": "root ::= [a]"}, {"json_schema": "{}"}])
def test_a_grammar_is_refused(changes):
    with pytest.raises(Unsupported, match="use a GGUF file"):
        sampler(**changes)
