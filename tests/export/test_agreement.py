"""The figures of the gate against the slow obvious ones."""

import numpy as np
import pytest
import torch

from export.agreement import Agreement, Passage, compare, difference


def test_divergence_is_that_of_torch():
    rng = np.random.default_rng(0)
    reference_NV, candidate_NV = rng.normal(size=(2, 5, 40)).astype(np.float32) * 4
    divergence_N, same_N = difference(reference_NV, candidate_NV)
    log_p, log_q = (
        torch.log_softmax(torch.tensor(x).double(), -1) for x in (reference_NV, candidate_NV)
    )
    slow = torch.nn.functional.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    assert divergence_N == pytest.approx(slow.numpy())
    assert same_N.tolist() == (log_p.argmax(-1) == log_q.argmax(-1)).tolist()


def test_equal_logits_do_not_diverge():
    logits_NV = np.full((3, 8), 700.0, np.float32)
    divergence_N, same_N = difference(logits_NV, logits_NV)
    assert divergence_N.tolist() == [0, 0, 0] and same_N.all()


def spoken(rows):
    """A source whose best token at each position is the given one."""
    return lambda tokens: iter([np.eye(8, dtype=np.float32)[rows[: len(tokens)]]])


def test_the_greedy_prefix_ends_where_the_best_tokens_first_differ():
    passage = Passage(tokens=[1, 2, 3, 4, 5, 6], reply=2, ended=True)
    sources = {"a": spoken([0, 3, 4, 5, 6]), "b": spoken([7, 3, 4, 0, 6])}
    (pair,) = compare(sources, [passage], iter)
    figures = pair.figures()
    assert figures["positions"] == 5
    assert figures["top1"] == 3 / 5
    assert figures["greedy_prefix"] == 2 / 4
    assert figures["end_of_turn"] == 1.0


def test_a_conversation_without_a_reply_has_no_greedy_figures():
    pair = Agreement("a", "b")
    pair.add(Passage([1, 2, 3], reply=3, ended=False), np.zeros(2), np.ones(2, bool))
    assert pair.figures()["greedy_prefix"] is None
    assert pair.figures()["end_of_turn"] is None
