"""MMD against the sum over all pairs, its gradient, and the estimates for monitoring."""

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning.mmd import (
    grouped_mmd2,
    linear_time_mmd2,
    paired_distance,
    random_feature_mmd2,
    rbf_mmd2,
)

EXACT = {"rtol": 1e-9, "atol": 1e-9}


def features(seed: int, rows: int, width: int = 6, shift: float = 0.0) -> torch.Tensor:
    source = torch.Generator().manual_seed(seed)
    return torch.randn(rows, width, generator=source, dtype=torch.float64) + shift


def naive_mmd2(student_NF, teacher_MF, kernels=5, bandwidth=None):
    """Every pair of the pooled rows, kernel by kernel; the diagonals left out."""
    pooled = torch.cat([student_NF, teacher_MF])
    squares = (pooled[:, None] - pooled[None]).square().sum(-1)
    if bandwidth is None:
        bandwidth = (squares.sum() / (len(pooled) * (len(pooled) - 1))).detach()
    widths = [bandwidth * 2.0 ** (j - kernels // 2) for j in range(kernels)]
    values = sum(torch.exp(-squares / width) for width in widths)
    n, m = len(student_NF), len(teacher_MF)
    inner, outer, cross = values[:n, :n], values[n:, n:], values[:n, n:]
    return (
        (inner.sum() - inner.trace()) / (n * (n - 1))
        + (outer.sum() - outer.trace()) / (m * (m - 1))
        - 2 * cross.mean()
    )


@pytest.mark.parametrize(("rows", "others"), [(2, 2), (9, 9), (7, 12)])
@pytest.mark.parametrize("kernels", [1, 4, 5])
@pytest.mark.parametrize("bandwidth", [None, 3.0])
def test_value_and_gradient_are_those_of_all_pairs(rows, others, kernels, bandwidth):
    student, teacher = features(1, rows).requires_grad_(), features(2, others, shift=0.7)
    options = {"kernels": kernels, "bandwidth": bandwidth}
    found = rbf_mmd2(student, teacher, chunk_bytes=4 * 8 * others * 3, **options)
    expected = naive_mmd2(student, teacher, **options)
    torch.testing.assert_close(found, expected, **EXACT)
    mine, naive = (torch.autograd.grad(3 * loss, student)[0] for loss in (found, expected))
    torch.testing.assert_close(mine, naive, **EXACT)


def test_gradcheck():
    student, teacher = features(1, 5).requires_grad_(), features(2, 6)
    assert torch.autograd.gradcheck(lambda x: rbf_mmd2(x, teacher, bandwidth=4.0), (student,))


def test_chunk_size_changes_nothing():
    student, teacher = features(1, 13).requires_grad_(), features(2, 11)
    outcomes = []
    for chunk_bytes in (1, 1000, 2**20):
        loss = rbf_mmd2(student, teacher, chunk_bytes=chunk_bytes)
        outcomes.append((loss.detach(), torch.autograd.grad(loss, student)[0]))
    for value, gradient in outcomes[1:]:
        torch.testing.assert_close(value, outcomes[0][0], **EXACT)
        torch.testing.assert_close(gradient, outcomes[0][1], **EXACT)


def test_features_far_from_the_origin_lose_nothing_in_fp32():
    student, teacher = features(1, 40), features(2, 40, shift=0.5)
    far = rbf_mmd2(student.float() + 500, teacher.float() + 500)
    assert far.item() == pytest.approx(naive_mmd2(student, teacher).item(), rel=1e-3)


def test_half_features_get_half_gradients_of_an_fp32_value():
    student = features(1, 20).bfloat16().requires_grad_()
    teacher = features(2, 20, shift=0.5).bfloat16()
    loss = rbf_mmd2(student, teacher)
    assert loss.dtype == torch.float32
    exact = student.detach().double().requires_grad_()
    expected = naive_mmd2(exact, teacher.double())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    gradient = torch.autograd.grad(loss, student)[0]
    assert gradient.dtype == torch.bfloat16
    error = gradient.double() - torch.autograd.grad(expected, exact)[0]
    assert error.norm() < 0.005 * gradient.double().norm()


def test_one_distribution_has_an_estimate_about_zero_and_two_do_not():
    same = [rbf_mmd2(features(s, 60), features(s + 100, 60)) for s in range(30)]
    values = torch.stack(same)
    assert abs(values.mean()) < 3 * values.std() / 30**0.5
    assert rbf_mmd2(features(1, 60), features(2, 60, shift=1.0)) > 10 * values.std()


def test_the_teacher_and_frozen_features_get_no_gradient():
    student, teacher = features(1, 5), features(2, 5).requires_grad_()
    assert not rbf_mmd2(student, teacher).requires_grad
    rbf_mmd2(student.requires_grad_(), teacher).backward()
    assert teacher.grad is None


def test_groups_are_compared_within_themselves():
    student, teacher = features(1, 9).requires_grad_(), features(2, 9, shift=0.4)
    groups = torch.tensor([0, 0, 1, 1, 1, 7, 0, 1, 0])
    expected = sum(
        4 * naive_mmd2(student[groups == group], teacher[groups == group], bandwidth=3.0)
        for group in (0, 1)
    )
    found = grouped_mmd2(student, teacher, groups, bandwidth=3.0)
    torch.testing.assert_close(found, expected / 8, **EXACT)
    assert not torch.autograd.grad(found, student)[0][5].any()
    assert grouped_mmd2(student, teacher, torch.arange(9)).item() == 0
    one = grouped_mmd2(student, teacher, torch.zeros(9))
    torch.testing.assert_close(one, naive_mmd2(student, teacher), **EXACT)


def test_paired_distances_see_the_order_of_rows_and_mmd_does_not():
    teacher = features(2, 9)
    student = teacher.flip(0)
    torch.testing.assert_close(rbf_mmd2(student, teacher), rbf_mmd2(teacher, teacher))
    assert paired_distance(student, teacher) > 0.1
    for measure in ("cosine", "squared"):
        assert paired_distance(teacher.clone(), teacher, measure).abs() < 1e-12
    assert paired_distance(teacher + 2, teacher, "squared").item() == pytest.approx(4.0)


@pytest.mark.parametrize("estimate", [linear_time_mmd2, random_feature_mmd2])
def test_estimates_for_monitoring_agree_with_the_exact_one(estimate):
    student, teacher = features(1, 2000), features(2, 2000, shift=0.5)
    exact = rbf_mmd2(student, teacher)
    assert estimate(student, teacher).item() == pytest.approx(exact.item(), rel=0.15)
    assert not estimate(student.requires_grad_(), teacher).requires_grad


def test_sets_that_cannot_be_compared_are_refused():
    with pytest.raises(BadInput, match="project the student's"):
        rbf_mmd2(features(1, 4, 5), features(2, 4, 6))
    with pytest.raises(BadInput, match="needs two of each"):
        rbf_mmd2(features(1, 1), features(2, 4))
