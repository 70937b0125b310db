"""Fused losses against the reference: values, gradients, and what must not change them."""

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning import fused_pass, losses
from distill.learning.divergence_rows import Divergence
from distill.learning.fused import (
    fused_linear_forward_kl,
    fused_linear_jsd,
    fused_linear_reverse_kl,
    fused_linear_skewed_kl,
)
from distill.learning.masks import IGNORED
from tests.distill.learning.heads import (
    DIVERGENCES,
    fused,
    gradients,
    naive_rows,
    name_of,
    random_labels,
    random_pair,
    relative_error,
)

EXACT = {"rtol": 1e-9, "atol": 1e-9}
REVERSE = Divergence()
each_divergence = pytest.mark.parametrize("divergence", DIVERGENCES, ids=name_of)


def naive_loss(pair, divergence, labels_N, **options):
    """Mean over labelled rows of divergence + cross-entropy, on full logits of the common part."""
    temperature, weight = options.get("temperature", 1.0), options.get("cross_entropy_weight", 0)
    common = min(len(pair.student_VD), len(pair.teacher_VE))
    student_NV = pair.student_ND @ pair.student_VD[:common].T
    teacher_NV = pair.teacher_NE @ pair.teacher_VE[:common].T
    rows_N = naive_rows(divergence, student_NV, teacher_NV, temperature)
    rows_N = rows_N + weight * losses.cross_entropy(student_NV, labels_N)
    return losses.mean_over_tokens(rows_N, labels_N)


@each_divergence
@pytest.mark.parametrize("seed", range(4))
def test_value_and_gradients_are_the_naive_ones(divergence, seed):
    rows, vocabulary = 3 + 5 * seed, 17 + 30 * seed
    pair = random_pair(seed, rows, vocabulary, extra=(0, 5, -3, 0)[seed])
    labels_N = random_labels(seed, rows, vocabulary)
    options = {
        "temperature": (1.0, 2.0, 0.7, 1.0)[seed],
        "cross_entropy_weight": (0, 0.5, 2, 1)[seed],
    }
    found = fused(
        pair, divergence, labels_N=labels_N, chunk_bytes=vocabulary * 16 * 4, **options
    ).loss
    expected = naive_loss(pair, divergence, labels_N, **options)
    torch.testing.assert_close(found, expected, **EXACT)
    for mine, naive in zip(
        gradients(found, *pair.trained), gradients(expected, *pair.trained), strict=True
    ):
        torch.testing.assert_close(mine, naive, **EXACT)


@each_divergence
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradcheck(divergence, reduction):
    pair = random_pair(5, 4, 9, student=3)
    bias = torch.randn(9, dtype=torch.float64).requires_grad_()
    labels_N = torch.tensor([2, IGNORED, 0, 8])

    def loss(hidden, head, bias):
        scored = fused(
            type(pair)(hidden, head, pair.teacher_NE, pair.teacher_VE),
            divergence,
            labels_N=labels_N,
            student_bias_V=bias,
            student_softcap=3.0,
            student_logit_scale=0.8,
            temperature=1.5,
            cross_entropy_weight=0.3,
            reduction=reduction,
            chunk_bytes=2 * 9 * 16,
        )
        return scored.loss

    assert torch.autograd.gradcheck(loss, (*pair.trained, bias))


@each_divergence
def test_chunk_size_changes_nothing(divergence):
    pair = random_pair(6, 13, 40)
    outcomes = []
    for rows in (1, 2, 5, 13, 100):
        loss = fused(pair, divergence, chunk_bytes=rows * 40 * 16).loss
        outcomes.append((loss.detach(), *gradients(loss, *pair.trained)))
    for other in outcomes[1:]:
        for mine, first in zip(other, outcomes[0], strict=True):
            torch.testing.assert_close(mine, first, **EXACT)


def test_blocks_within_a_chunk_change_nothing(monkeypatch):
    pair = random_pair(6, 13, 40)
    whole = fused(pair, REVERSE).loss
    monkeypatch.setitem(fused_pass.BLOCK_BYTES, "cpu", 3 * 40 * 8)
    torch.testing.assert_close(fused(pair, REVERSE).loss, whole, **EXACT)


def test_accumulated_micro_batches_give_the_gradient_of_the_whole():
    pair, labels_N = random_pair(7, 12, 30), random_labels(7, 12, 30)
    options = {"cross_entropy_weight": 0.5}
    whole = gradients(fused(pair, REVERSE, labels_N=labels_N, **options).loss, *pair.trained)
    count = int((labels_N != IGNORED).sum())
    summed = [torch.zeros_like(x) for x in pair.trained]
    for part in (slice(0, 1), slice(1, 9), slice(9, 12)):
        piece = type(pair)(
            pair.student_ND[part], pair.student_VD, pair.teacher_NE[part], pair.teacher_VE
        )
        loss = fused(piece, REVERSE, labels_N=labels_N[part], count=count, **options).loss
        for total, gradient in zip(summed, gradients(loss, *pair.trained), strict=True):
            total += gradient
    for total, expected in zip(summed, whole, strict=True):
        torch.testing.assert_close(total, expected, **EXACT)


def test_ignored_rows_are_never_projected():
    pair, labels_N = random_pair(8, 6, 20), torch.tensor([3, IGNORED, 4, 5, IGNORED, 6])
    with torch.no_grad():
        pair.student_ND[1], pair.teacher_NE[4] = float("nan"), float("inf")
    scored = fused(pair, REVERSE, labels_N=labels_N)
    hidden_ND, head_VD = gradients(scored.loss, *pair.trained)
    assert hidden_ND.isfinite().all() and head_VD.isfinite().all()
    for values in (hidden_ND[[1, 4]], scored.divergence_N[[1, 4]]):
        assert not values.any()


def test_a_batch_without_a_response_has_a_zero_loss_and_zero_gradients():
    pair = random_pair(8, 3, 20)
    loss = fused(pair, REVERSE, labels_N=torch.full((3,), IGNORED)).loss
    assert loss.item() == 0
    assert not any(gradient.any() for gradient in gradients(loss, *pair.trained))


def test_a_frozen_head_gets_no_gradient_and_states_the_same_one():
    pair = random_pair(9)
    whole = gradients(fused(pair, REVERSE).loss, *pair.trained)[0]
    still = pair.frozen()
    fused(still, REVERSE).loss.backward()
    assert still.student_VD.grad is None
    torch.testing.assert_close(still.student_ND.grad, whole, **EXACT)


def test_only_a_head_or_only_a_bias_may_train():
    pair, bias = random_pair(9), torch.randn(23, dtype=torch.float64).requires_grad_()
    whole = gradients(fused(pair, REVERSE, student_bias_V=bias).loss, *pair.trained, bias)
    pair.student_ND = pair.student_ND.detach()
    head_only = gradients(fused(pair, REVERSE, student_bias_V=bias.detach()).loss, pair.student_VD)
    bias_only = gradients(fused(pair.frozen(), REVERSE, student_bias_V=bias).loss, bias)
    torch.testing.assert_close(head_only[0], whole[1], **EXACT)
    torch.testing.assert_close(bias_only[0], whole[2], **EXACT)


def test_without_gradients_there_is_a_value_and_no_graph():
    pair = random_pair(9)
    with torch.no_grad():
        loss = fused(pair, REVERSE).loss
    assert not loss.requires_grad
    torch.testing.assert_close(loss, fused(pair, REVERSE).loss.detach(), **EXACT)


def test_biases_scales_and_soft_caps_of_both_roles():
    pair = random_pair(10, 5, 20)
    mine, theirs = torch.randn(2, 20, dtype=torch.float64)
    options = {
        "student_bias_V": mine,
        "teacher_bias_V": theirs,
        "student_logit_scale": 0.5,
        "teacher_logit_scale": 2.0,
        "temperature": 1.3,
    }
    for caps in ({}, {"student_softcap": 4.0}, {"teacher_softcap": 3.0}):
        student_NV = (pair.student_ND @ pair.student_VD.T + mine) * 0.5
        teacher_NV = (pair.teacher_NE @ pair.teacher_VE.T + theirs) * 2.0
        if "student_softcap" in caps:
            student_NV = 4.0 * torch.tanh(student_NV / 4.0)
        if "teacher_softcap" in caps:
            teacher_NV = 3.0 * torch.tanh(teacher_NV / 3.0)
        expected = losses.reverse_kl(student_NV, teacher_NV, 1.3).mean()
        found = fused(pair, REVERSE, **options, **caps).loss
        torch.testing.assert_close(found, expected, **EXACT)
        mine_ND = gradients(found, pair.student_ND)[0]
        torch.testing.assert_close(mine_ND, gradients(expected, pair.student_ND)[0], **EXACT)


def test_weights_of_rows_scale_their_share():
    pair, labels_N = random_pair(11), random_labels(11, 7, 23)
    weights_N = torch.rand(7, dtype=torch.float64)
    rows_N = fused(pair, REVERSE, labels_N=labels_N, reduction="none").loss
    expected = losses.mean_over_tokens(rows_N * weights_N, labels_N)
    found = fused(pair, REVERSE, labels_N=labels_N, weights_N=weights_N).loss
    torch.testing.assert_close(found, expected, **EXACT)
    for one, other in zip(
        gradients(found, *pair.trained), gradients(expected, *pair.trained), strict=True
    ):
        torch.testing.assert_close(one, other, **EXACT)


def test_the_figures_of_rows_are_those_of_full_logits():
    pair, labels_N = random_pair(12), random_labels(12, 7, 23)
    student_NV = (pair.student_ND @ pair.student_VD.T).detach()
    teacher_NV = pair.teacher_NE @ pair.teacher_VE.T
    for temperature in (1.0, 2.0):
        scored = fused(pair, REVERSE, labels_N=labels_N, temperature=temperature)
        kept_N = labels_N != IGNORED
        divergence_N = losses.reverse_kl(student_NV, teacher_NV, temperature) * kept_N
        torch.testing.assert_close(scored.divergence_N, divergence_N, **EXACT)
        mine_N = losses.cross_entropy(student_NV, labels_N)
        theirs_N = losses.cross_entropy(teacher_NV, labels_N)
        torch.testing.assert_close(scored.cross_entropy_N, mine_N, **EXACT)
        torch.testing.assert_close(scored.teacher_cross_entropy_N, theirs_N, **EXACT)
        assert not scored.divergence_N.requires_grad


def test_a_second_backward_pass_projects_again_and_gives_the_same():
    pair = random_pair(13)
    loss = fused(pair, REVERSE).loss
    first = torch.autograd.grad(3 * loss, pair.trained, retain_graph=True)
    second = torch.autograd.grad(loss, pair.trained)
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, 3 * other, **EXACT)
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(loss, pair.trained)


def test_extreme_logits_give_finite_gradients():
    for divergence in DIVERGENCES:
        pair = random_pair(14, 4, 50, dtype=torch.float32)
        with torch.no_grad():
            pair.student_ND *= 100
            pair.teacher_NE *= 100
        loss = fused(pair, divergence).loss
        assert loss.isfinite()
        assert all(gradient.isfinite().all() for gradient in gradients(loss, *pair.trained))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("distance", [1.0, 0.25, 0.003], ids="kl {}".format)
def test_state_gradients_stay_exact_as_the_student_nears_the_teacher(dtype, distance):
    width, vocabulary, rows = 128, 4096, 16
    source = torch.Generator().manual_seed(1)
    hidden = torch.randn(rows, width, generator=source)
    head = 2 * torch.randn(vocabulary, width, generator=source) / width**0.5
    noise = torch.randn(rows, width, generator=source) * (distance / 2) ** 0.5
    states = [hidden.to(dtype), head.to(dtype), (hidden + noise).to(dtype), head.to(dtype)]
    exact_ND = states[0].double().requires_grad_()
    exact = fused_linear_reverse_kl(exact_ND, *(x.double() for x in states[1:]))
    assert distance / 3 < exact.item() < 3 * distance
    states[0].requires_grad_()
    loss = fused_linear_reverse_kl(*states)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=2e-3)
    found_ND = gradients(loss, states[0])[0]
    assert found_ND.dtype == dtype
    assert relative_error(found_ND, gradients(exact, exact_ND)[0]) <= 0.005


def test_half_heads_are_trained_and_widened_part_by_part(monkeypatch):
    monkeypatch.setattr("distill.learning.projection.WIDENED_BYTES", 4 * 5 * 7)
    pair = random_pair(15, dtype=torch.bfloat16)
    wide = type(pair)(*(x.detach().double() for x in pair.states))
    wide.student_ND.requires_grad_(), wide.student_VD.requires_grad_()
    found = gradients(fused(pair, REVERSE).loss, *pair.trained)
    exact = gradients(fused(wide, REVERSE).loss, *wide.trained)
    for mine, naive in zip(found, exact, strict=True):
        assert mine.dtype == torch.bfloat16
        assert relative_error(mine, naive) <= 0.005


def test_autocast_narrows_states_and_keeps_sums_wide():
    pair = random_pair(16, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = fused(pair, REVERSE).loss
    hidden_ND, head_VD = gradients(loss, *pair.trained)
    assert loss.dtype == hidden_ND.dtype == head_VD.dtype == torch.float32
    expected = gradients(fused(pair, REVERSE).loss, *pair.trained)
    assert relative_error(head_VD, expected[1].double()) < 0.02


def test_the_named_losses_are_their_divergences():
    states = random_pair(17).states
    pairs = [
        (fused_linear_reverse_kl(*states), REVERSE),
        (fused_linear_forward_kl(*states), Divergence("forward-kl")),
        (fused_linear_jsd(*states, beta=0.3), Divergence("jsd", 0.3)),
        (fused_linear_skewed_kl(*states), Divergence("skewed-reverse-kl", 0.1)),
        (
            fused_linear_skewed_kl(*states, alpha=0.2, direction="forward"),
            Divergence("skewed-forward-kl", 0.2),
        ),
    ]
    for loss, divergence in pairs:
        torch.testing.assert_close(loss, fused(random_pair(17), divergence).loss, **EXACT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels_N": torch.zeros(6, dtype=torch.long)}, r"have \[6, 7\] rows"),
        ({"cross_entropy_weight": 1.0}, "labels_N is not"),
        ({"labels_N": torch.full((7,), 23)}, "label 23 lies outside the 23 tokens"),
        ({"labels_N": torch.full((7,), -1)}, "label -1 lies outside"),
    ],
)
def test_states_and_labels_that_do_not_fit_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        fused(random_pair(18), REVERSE, **options)


def test_heads_of_different_tokenizers_are_refused():
    pair = random_pair(18, extra=5000)
    with pytest.raises(BadInput, match="different tokenizers"):
        fused(pair, REVERSE)
