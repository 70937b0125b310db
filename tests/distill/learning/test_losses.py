"""The reference formulas: facts that the papers state, and refusals."""

import math

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning import losses
from distill.learning.divergence_rows import Divergence
from distill.learning.masks import IGNORED
from tests.distill.learning.heads import DIVERGENCES, naive_rows, name_of

TWO = torch.tensor([[math.log(0.75), math.log(0.25)]], dtype=torch.float64)
EVEN = torch.zeros(1, 2, dtype=torch.float64)


def random_logits(seed: int) -> torch.Tensor:
    return 3 * torch.randn(6, 11, generator=torch.Generator().manual_seed(seed)).double()


def test_directions_are_the_papers():
    forward = 0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    reverse = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.forward_kl(TWO, EVEN).item() == pytest.approx(forward)
    assert losses.reverse_kl(TWO, EVEN).item() == pytest.approx(reverse)


@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name_of)
def test_a_divergence_is_zero_for_the_teacher_itself_and_positive_elsewhere(divergence):
    student, teacher = random_logits(1), random_logits(2)
    same = naive_rows(divergence, teacher + 3.0, teacher)
    assert same.abs().max() < 1e-12
    assert naive_rows(divergence, student, teacher).min() > 0


def test_generalized_jsd_has_the_two_divergences_as_its_limits():
    student, teacher = random_logits(1), random_logits(2)
    near = 1e-7
    low = losses.generalized_jsd(student, teacher, near) / near
    high = losses.generalized_jsd(student, teacher, 1 - near) / near
    torch.testing.assert_close(low, losses.forward_kl(student, teacher), rtol=1e-3, atol=0)
    torch.testing.assert_close(high, losses.reverse_kl(student, teacher), rtol=1e-3, atol=0)


def test_skewed_divergences_stay_finite_where_one_role_has_no_mass():
    student = torch.tensor([[0.0, -1e4]], dtype=torch.float64)
    teacher = torch.tensor([[-1e4, 0.0]], dtype=torch.float64)
    assert losses.reverse_kl(student, teacher) > 9e3
    for formula in (losses.skewed_forward_kl, losses.skewed_reverse_kl):
        assert formula(student, teacher, 0.1).item() == pytest.approx(-math.log(0.1))


def test_temperature_squared_keeps_the_gradients_of_one_size():
    sizes = []
    for temperature in (50.0, 100.0):
        student = random_logits(1).requires_grad_()
        loss = temperature**2 * losses.reverse_kl(student, random_logits(2), temperature).sum()
        sizes.append(torch.autograd.grad(loss, student)[0].norm())
    assert sizes[1] / sizes[0] == pytest.approx(1.0, abs=0.02)


def test_the_teacher_has_no_gradient():
    teacher = random_logits(2).requires_grad_()
    student = random_logits(1).requires_grad_()
    losses.reverse_kl(student, teacher).sum().backward()
    assert teacher.grad is None and student.grad is not None


def test_a_mean_is_over_labelled_tokens_of_the_whole_step():
    values = torch.arange(4.0)
    labels = torch.tensor([5, IGNORED, 3, 1])
    assert losses.mean_over_tokens(values, labels).item() == pytest.approx(5 / 3)
    halves = [losses.mean_over_tokens(values[p], labels[p], count=3) for p in ([0, 1], [2, 3])]
    assert sum(halves).item() == pytest.approx(5 / 3)
    assert losses.mean_over_tokens(values, torch.full((4,), IGNORED)).item() == 0


def test_cross_entropy_ignores_what_has_no_label():
    logits, labels = random_logits(3), torch.tensor([0, IGNORED, 2, 10, IGNORED, 1])
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    torch.testing.assert_close(losses.cross_entropy(logits, labels), expected)


def test_padding_is_cut_and_another_tokenizer_is_refused():
    student, teacher = random_logits(1), random_logits(2)
    padded = torch.cat([teacher, torch.full((6, 5), 9.0).double()], -1)
    expected = losses.reverse_kl(student, teacher)
    torch.testing.assert_close(losses.reverse_kl(student, padded), expected)
    assert losses.common_vocabulary(151936, 152064) == 151936
    with pytest.raises(BadInput, match="different tokenizers"):
        losses.common_vocabulary(32000, 151936)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_the_ends_of_a_mixture_are_refused(share):
    with pytest.raises(BadInput, match="between 0 and 1"):
        losses.generalized_jsd(EVEN, TWO, share)
    with pytest.raises(BadInput, match="alpha"):
        Divergence("skewed-reverse-kl", share)
