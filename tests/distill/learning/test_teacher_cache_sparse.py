"""Few tokens and a bucket against the exact divergence: bound, gradient, dense rows, top-k."""

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning import losses
from distill.learning.divergence_rows import Divergence
from distill.learning.masks import IGNORED
from distill.learning.projection import Head
from distill.learning.teacher_cache import log_normalizers
from distill.learning.teacher_cache_sparse import queried_reverse_kl, top_k_reverse_kl
from distill.learning.teacher_cache_top_k import rest_of, rows_of_service, top_rows
from tests.distill.learning.heads import fused, gradients, random_labels, random_pair

NEAR = {"rtol": 1e-6, "atol": 1e-7}


def pair_of(seed=0, rows=12, vocabulary=50, **k):
    return random_pair(seed, rows, vocabulary, student=6, teacher=9, **k)


def head_of(pair, **k):
    return Head(pair.teacher_VE, **k)


def normalizers(pair, head):
    logits_NV = pair.teacher_NE @ head.weight_VD.T
    return torch.logsumexp(logits_NV, -1)


def queried(pair, **options):
    head = head_of(pair)
    return queried_reverse_kl(
        pair.student_ND,
        pair.student_VD,
        pair.teacher_NE,
        normalizers(pair, head),
        head,
        **options,
    )


def bucket_by_autograd(pair, keep, labels_N=None):
    """The slow obvious form: merge all tokens that are not kept, on full logits."""
    log_q_NV, log_p_NV = losses.log_probabilities(
        pair.student_ND @ pair.student_VD.T, pair.teacher_NE @ pair.teacher_VE.T, 1.0
    )
    kept_NK = log_q_NV.topk(keep, -1).indices
    rest_NV = torch.ones_like(log_q_NV).scatter(-1, kept_NK, 0).bool()

    def merged(log_NV):
        tail_N1 = log_NV.masked_fill(~rest_NV, -torch.inf).logsumexp(-1, keepdim=True)
        return torch.cat([log_NV.gather(-1, kept_NK), tail_N1], -1)

    return losses.kl(merged(log_q_NV), merged(log_p_NV)), merged(log_q_NV)[:, -1].exp()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("keep", [1, 7, 40])
def test_value_tail_and_gradient_are_those_of_the_merged_distribution(seed, keep):
    pair = pair_of(seed)
    found = queried(pair, keep=keep, tail_at_most=1.0, reduction="sum", chunk_bytes=50 * 16 * 5)
    rows_N, tail_N = bucket_by_autograd(pair, keep)
    torch.testing.assert_close(found.scored.divergence_N, rows_N, **NEAR)
    torch.testing.assert_close(found.tail_N, tail_N, **NEAR)
    for mine, slow in zip(
        gradients(found.scored.loss, *pair.trained),
        gradients(rows_N.sum(), *pair.trained),
        strict=True,
    ):
        torch.testing.assert_close(mine, slow, rtol=1e-5, atol=1e-6)
    assert not found.dense_N.any()


def test_the_bucket_is_a_lower_bound_that_rises_to_the_exact_value():
    pair = pair_of(4)
    exact_N = fused(pair, Divergence()).divergence_N
    last_N = torch.zeros_like(exact_N)
    for keep in (1, 3, 10, 30, 49):
        found_N = queried(pair, keep=keep, tail_at_most=1.0).scored.divergence_N
        assert (found_N <= exact_N + 1e-7).all() and (found_N >= last_N - 1e-7).all()
        last_N = found_N
    assert (last_N > exact_N - 1e-4).all()


def test_the_bound_is_short_by_the_tail_times_what_happens_in_it():
    pair, keep = pair_of(5), 8
    log_q_NV, log_p_NV = losses.log_probabilities(
        pair.student_ND @ pair.student_VD.T, pair.teacher_NE @ pair.teacher_VE.T, 1.0
    )
    kept_NK = log_q_NV.topk(keep, -1).indices
    inside = [log.scatter(-1, kept_NK, -torch.inf).log_softmax(-1) for log in (log_q_NV, log_p_NV)]
    within_N = (inside[0].exp() * (inside[0] - inside[1]).nan_to_num()).sum(-1)
    found = queried(pair, keep=keep, tail_at_most=1.0)
    short_N = losses.kl(log_q_NV, log_p_NV) - found.scored.divergence_N
    torch.testing.assert_close(short_N, found.tail_N * within_N, **NEAR)


@pytest.mark.parametrize("options", [{}, {"cross_entropy_weight": 0.4}, {"reduction": "none"}])
def test_rows_with_a_large_bucket_are_scored_exactly(options):
    pair, labels_N = pair_of(6), random_labels(6, 12, 50)
    options = {"labels_N": labels_N, **options}
    every = queried(pair, keep=0, **options)
    exact = fused(pair, Divergence(), **options)
    for mine, other in zip(every.scored, exact, strict=True):
        torch.testing.assert_close(mine, other, **NEAR)
    for mine, other in zip(
        gradients(every.scored.loss.sum(), *pair.trained),
        gradients(exact.loss.sum(), *pair.trained),
        strict=True,
    ):
        torch.testing.assert_close(mine, other, **NEAR)
    assert torch.equal(every.dense_N, labels_N != IGNORED)


def test_only_rows_above_the_limit_are_dense():
    pair = pair_of(7)
    free = queried(pair, keep=8, tail_at_most=1.0)
    limit = float(free.tail_N.median())
    mixed = queried(pair, keep=8, tail_at_most=limit)
    exact_N = fused(pair, Divergence()).divergence_N
    assert torch.equal(mixed.dense_N, free.tail_N > limit) and 0 < int(mixed.dense_N.sum()) < 12
    wanted_N = torch.where(mixed.dense_N, exact_N, free.scored.divergence_N)
    torch.testing.assert_close(mixed.scored.divergence_N, wanted_N, **NEAR)


def test_gradcheck_with_soft_cap_scale_bias_and_some_dense_rows():
    pair = pair_of(8, 5, 11)
    bias_V = torch.randn(11, dtype=torch.float64).requires_grad_()
    head = Head(pair.teacher_VE, torch.randn(11, dtype=torch.float64), 0.7, 4.0)
    logits_NV = (pair.teacher_NE @ head.weight_VD.T + head.bias_V) * 0.7
    normalizers_N = torch.logsumexp(4 * torch.tanh(logits_NV / 4), -1)

    def loss(hidden, weight, bias):
        found = queried_reverse_kl(
            hidden,
            weight,
            pair.teacher_NE,
            normalizers_N,
            head,
            keep=4,
            tail_at_most=0.3,
            labels_N=torch.tensor([3, IGNORED, 0, 10, 2]),
            weights_N=torch.tensor([1.0, 1, 0.5, 2, 1], dtype=torch.float64),
            student_bias_V=bias,
            student_softcap=5.0,
            student_logit_scale=0.9,
            cross_entropy_weight=0.3,
        )
        return found.scored.loss

    assert torch.autograd.gradcheck(loss, (pair.student_ND, pair.student_VD, bias_V))


def test_a_frozen_head_gets_no_gradient_and_states_the_same_one():
    pair = pair_of(9)
    (free,) = gradients(queried(pair, keep=9).scored.loss, pair.student_ND)
    (frozen,) = gradients(queried(pair.frozen(), keep=9).scored.loss, pair.student_ND)
    assert torch.equal(free, frozen)


def test_a_students_padding_is_left_out_as_the_exact_loss_does():
    pair = pair_of(10, extra=4)
    found = queried(pair, keep=0).scored.loss
    exact = fused(pair, Divergence()).loss
    torch.testing.assert_close(found, exact, **NEAR)
    _, grad_VD = gradients(found, *pair.trained)
    assert not grad_VD[50:].any()


def test_the_top_k_tier_is_a_lower_bound_and_exact_with_every_token_kept():
    pair, labels_N = pair_of(11), random_labels(11, 12, 50, 0.2)
    exact = fused(pair, Divergence(), labels_N=labels_N)
    for keep in (1, 8, 49, 50):
        rows = top_rows(head_of(pair), pair.teacher_NE, keep)
        found = top_k_reverse_kl(*pair.trained, rows, 50, labels_N=labels_N)
        # With every token kept, what is left of the student's mass is rounding alone.
        assert (found.scored.divergence_N <= exact.divergence_N + 2e-5).all()
        assert not found.dense_N.any()
    torch.testing.assert_close(found.scored.divergence_N, exact.divergence_N, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(
        found.scored.teacher_cross_entropy_N, exact.teacher_cross_entropy_N, rtol=1e-5, atol=1e-5
    )


def test_the_top_k_gradient_is_that_of_the_merged_distribution():
    pair = pair_of(12, 4, 13)
    rows = top_rows(head_of(pair), pair.teacher_NE, 5)

    def loss(hidden, weight):
        return top_k_reverse_kl(hidden, weight, rows, 13).scored.loss

    assert torch.autograd.gradcheck(loss, pair.trained)


def test_a_reply_token_in_the_bucket_has_no_known_probability():
    pair = pair_of(13)
    rows = top_rows(head_of(pair), pair.teacher_NE, 1)
    labels_N = (rows["ids"][:, 0].long() + 1) % 50
    found = top_k_reverse_kl(*pair.trained, rows, 50, labels_N=labels_N)
    assert found.scored.teacher_cross_entropy_N.isnan().all()
    assert found.scored.divergence_N.isfinite().all()


@pytest.mark.parametrize("call", ["queried", "top-k"])
def test_what_a_store_cannot_answer_is_refused(call):
    pair = pair_of(14)
    rows = top_rows(head_of(pair), pair.teacher_NE, 3)

    def ask(states, weight, **options):
        if call == "top-k":
            return top_k_reverse_kl(states, weight, rows, 50, **options)
        head = head_of(pair)
        return queried_reverse_kl(
            states, weight, pair.teacher_NE, normalizers(pair, head), head, **options
        )

    with pytest.raises(BadInput, match=r"temperature is 2\.0"):
        ask(*pair.trained, temperature=2.0)
    with pytest.raises(BadInput, match="49 rows and the store 50 tokens"):
        ask(pair.student_ND, pair.student_VD[:49])
    with pytest.raises(BadInput, match="rows; row n of each"):
        ask(pair.student_ND[1:], pair.student_VD)


def test_normalizers_do_not_depend_on_how_rows_are_cut(monkeypatch):
    pair = pair_of(15, 9, 30, dtype=torch.float32)
    whole_N = log_normalizers(head_of(pair), pair.teacher_NE)
    monkeypatch.setattr("distill.learning.teacher_cache.LOGITS_BYTES", 4 * 30 * 2)
    assert torch.allclose(log_normalizers(head_of(pair), pair.teacher_NE), whole_N)


NAMES = {" I": 5, " am": 6, " so": 7, " glad": 8, "twice": -1}


def said(token, logprob, *others):
    top = [{"token": name, "logprob": value} for name, value in others]
    return {"token": token, "logprob": logprob, "top_logprobs": top}


def test_what_a_service_sends_becomes_rows_with_the_reply_kept():
    content = [
        said(" I", -0.5, (" I", -0.5), (" am", -1.5), ("twice", -3.0)),
        said("token_id:8", -2.0, (" so", -0.2), (" am", -2.5)),
    ]
    rows = rows_of_service(content, [5, 8], NAMES, kept=2)
    assert rows["ids"].tolist() == [[5, 6], [8, 7]]
    torch.testing.assert_close(rows["log_p"], torch.tensor([[-0.5, -1.5], [-2.0, -0.2]]))
    kept_N = rows["log_p"].exp().sum(-1)
    torch.testing.assert_close(rows["log_tail"].exp(), 1 - kept_N)


def test_a_row_that_a_service_left_short_counts_no_token_twice():
    pair = pair_of(16, 1, 9)
    rows = rows_of_service([said(" I", -0.7)], [5], NAMES, kept=4)
    found = top_k_reverse_kl(*pair.trained, rows, 9).scored.divergence_N
    q_NV = torch.softmax(pair.student_ND @ pair.student_VD.T, -1)
    q, p = q_NV[0, 5], torch.tensor(-0.7, dtype=torch.float64).exp()
    wanted = q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    torch.testing.assert_close(found[0], wanted, rtol=1e-6, atol=1e-6)


def test_kept_mass_that_rounds_above_one_leaves_a_small_bucket():
    assert float(rest_of(torch.tensor([[0.0, -9.0]])).exp()) < 1e-6


@pytest.mark.parametrize(
    ("content", "says"),
    [([], "for 0 tokens, and the reply has 1"), ([said(" am", -1)], "token 0 of the reply is")],
)
def test_log_probabilities_of_another_reply_are_refused(content, says):
    with pytest.raises(BadInput, match=says):
        rows_of_service(content, [5], NAMES, kept=2)
