"""Maximum mean discrepancy between a student's features and a teacher's, exact with its gradient.

In: features of both roles, of one width (project the student's first). Out: an unbiased estimate
of MMD^2 under a sum of Gaussian kernels; the gradient reaches the student alone. Refused: fewer
than two rows, features of different width (BadInput).

MMD^2 = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j), with
k(x, y) = sum_j exp(-|x - y|^2 / s_j) and each s_j twice the one before: Gretton et al., JMLR 13
(2012); several kernels as in arXiv 1502.02791. It may be slightly negative, as unbiased estimates
of a small positive number must be.

Rows are taken in chunks, so [N, M] never exists. Since k_j = k_(j+1)^2, a chunk costs one
exponential and squarings. With W = sum_j k_j / s_j the gradient is a weighted mean of differences,
sum_j W_ij (x_i - y_j) = rowsum(W)_i x_i - (W y)_i, formed in the forward pass.

The set of a batch's tokens is compared, not their order: `paired_distance` compares row with row,
`grouped_mmd2` set with set within each emotion. Linear-time and random-feature forms are for
monitoring: the gradient of random features is far off at sizes that would be worth their while.

Shapes: N student rows, M teacher rows, C rows of a chunk, F features, K kernels, J random features.
"""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.core.errors import BadInput

KERNELS = 5
CHUNK_BYTES = 2**23


class Kernel(NamedTuple):
    """Gaussian kernels whose widths double; `widest` is the largest s_j, a squared distance."""

    widest: Tensor
    number: int

    def sums(self, squares_CM: Tensor) -> tuple[Tensor, Tensor]:
        """sum_j k_j and W = sum_j k_j / s_j of squared distances, which are spent."""
        power_CM = squares_CM.div_(-self.widest).exp_()
        value_CM, slope_CM = power_CM.clone(), power_CM.clone()
        for doubling in range(1, self.number):
            power_CM.mul_(power_CM)
            value_CM.add_(power_CM)
            slope_CM.add_(power_CM, alpha=2.0**doubling)
        return value_CM, slope_CM.div_(self.widest)

    def values(self, squares: Tensor) -> Tensor:
        """sum_j k_j of squared distances, which are spent."""
        power = squares.div_(-self.widest).exp_()
        value = power.clone()
        for _ in range(1, self.number):
            value.add_(power.mul_(power))
        return value


class Term(NamedTuple):
    """Sum of kernel values over pairs, and its gradient with respect to the first rows."""

    total: Tensor
    gradient_NF: Tensor | None


def rbf_mmd2(
    student_NF: Tensor,
    teacher_MF: Tensor,
    *,
    kernels: int = KERNELS,
    bandwidth: float | Tensor | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Tensor:
    """Unbiased MMD^2 in O(NM) time and O((N + M) F) memory, with the student's gradient.

    bandwidth: the middle s_j, a squared distance; by default the mean squared distance of all
        pairs of both roles, taken as a constant.
    """
    refuse_features(student_NF, teacher_MF)
    loss: Tensor = ExactMMD.apply(  # type: ignore[no-untyped-call]
        student_NF, teacher_MF.detach(), kernels, bandwidth, chunk_bytes
    )
    return loss


def refuse_features(student_NF: Tensor, teacher_MF: Tensor) -> None:
    """BadInput when the two sets cannot be compared."""
    if student_NF.shape[1] != teacher_MF.shape[1]:
        raise BadInput(
            f"student features are {student_NF.shape[1]} wide and the teacher's "
            f"{teacher_MF.shape[1]}; project the student's to the teacher's width first"
        )
    if min(len(student_NF), len(teacher_MF)) < 2:
        raise BadInput(
            f"{len(student_NF)} student rows and {len(teacher_MF)} teacher rows; an unbiased "
            "MMD needs two of each, so use larger batches"
        )


def centred(student_NF: Tensor, teacher_MF: Tensor) -> tuple[Tensor, Tensor]:
    """Features in fp32 or fp64 about their common mean: the same distances, with less rounding."""
    kind = torch.promote_types(torch.promote_types(student_NF.dtype, teacher_MF.dtype), torch.float)
    student_NF, teacher_MF = student_NF.to(kind), teacher_MF.to(kind)
    rows = len(student_NF) + len(teacher_MF)
    mean_F = (student_NF.sum(0) + teacher_MF.sum(0)) / rows
    return student_NF - mean_F, teacher_MF - mean_F


def kernel_of(
    student_NF: Tensor, teacher_MF: Tensor, number: int, bandwidth: float | Tensor | None
) -> Kernel:
    """Kernels about a bandwidth; that of centred features is twice their mean square, O(NF)."""
    if bandwidth is None:
        rows = len(student_NF) + len(teacher_MF)
        squares = student_NF.square().sum() + teacher_MF.square().sum()
        bandwidth = (2 * squares / (rows - 1)).clamp(min=torch.finfo(squares.dtype).tiny)
    middle = torch.as_tensor(bandwidth, dtype=student_NF.dtype, device=student_NF.device)
    return Kernel(middle * 2.0 ** (number - 1 - number // 2), number)


def pair_sums(
    rows_NF: Tensor, others_MF: Tensor, kernel: Kernel, chunk_bytes: int, *, gradient: bool
) -> Term:
    """Sum of k over all pairs of two sets; over i != j when they are the same set."""
    same = rows_NF is others_MF
    squares_M = others_MF.square().sum(1)
    step = max(1, chunk_bytes // (4 * len(others_MF) * rows_NF.element_size()))
    total = rows_NF.new_zeros(())
    gradient_NF = torch.empty_like(rows_NF) if gradient else None
    for start in range(0, len(rows_NF), step):
        rows_CF = rows_NF[start : start + step]
        distances_CM = torch.addmm(squares_M, rows_CF, others_MF.T, alpha=-2)
        distances_CM.add_(rows_CF.square().sum(1)[:, None]).clamp_(min=0)
        diagonal = start if same else None
        if gradient_NF is None:
            total += without_self(kernel.values(distances_CM), diagonal).sum()
            continue
        value_CM, slope_CM = kernel.sums(distances_CM)
        total += without_self(value_CM, diagonal).sum()
        without_self(slope_CM, diagonal)
        share_CF = rows_CF * slope_CM.sum(1)[:, None]
        gradient_NF[start : start + step] = share_CF.addmm_(slope_CM, others_MF, alpha=-1)
    return Term(total, None if gradient_NF is None else gradient_NF.mul_(-2))


def without_self(pairs_CM: Tensor, diagonal: int | None) -> Tensor:
    """Zero where a row meets itself."""
    if diagonal is not None:
        pairs_CM.diagonal(diagonal).zero_()
    return pairs_CM


class ExactMMD(torch.autograd.Function):
    """The estimate and, from the forward pass, its gradient with respect to the student."""

    @staticmethod
    def forward(
        ctx: Any,
        student_NF: Tensor,
        teacher_MF: Tensor,
        kernels: int,
        bandwidth: float | Tensor | None,
        chunk_bytes: int,
    ) -> Tensor:
        with torch.autocast(student_NF.device.type, enabled=False):
            mine_NF, theirs_MF = centred(student_NF, teacher_MF)
            kernel = kernel_of(mine_NF, theirs_MF, kernels, bandwidth)
            wanted = ctx.needs_input_grad[0]
            inner = pair_sums(mine_NF, mine_NF, kernel, chunk_bytes, gradient=wanted)
            outer = pair_sums(theirs_MF, theirs_MF, kernel, chunk_bytes, gradient=False)
            cross = pair_sums(mine_NF, theirs_MF, kernel, chunk_bytes, gradient=wanted)
        n, m = len(student_NF), len(teacher_MF)
        if inner.gradient_NF is not None and cross.gradient_NF is not None:
            # Each unordered pair of students counts twice in `inner`, and so does its gradient.
            inner.gradient_NF.mul_(2 / (n * (n - 1)))
            inner.gradient_NF.add_(cross.gradient_NF, alpha=-2 / (n * m))
            ctx.save_for_backward(inner.gradient_NF)
            ctx.kind = student_NF.dtype
        mean = inner.total / (n * (n - 1)) + outer.total / (m * (m - 1))
        return mean - cross.total * (2 / (n * m))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        (gradient_NF,) = ctx.saved_tensors
        return (gradient_NF * factor).to(ctx.kind), None, None, None, None


def grouped_mmd2(
    student_NF: Tensor, teacher_NF: Tensor, groups_N: Tensor, **options: Any
) -> Tensor:
    """Mean of MMD^2 within groups, such as emotions, weighted by their rows.

    Row n of both roles is the same token, of group `groups_N[n]`. All groups share one bandwidth.
    Groups of one row have no estimate and no weight; if no group has two, the result is zero.
    """
    if options.get("bandwidth") is None:
        with torch.no_grad():
            both = centred(student_NF, teacher_NF)
            kernel = kernel_of(*both, 1, None)
        options["bandwidth"] = kernel.widest
    total, rows = student_NF.sum() * 0.0, 0
    for group in sorted(set(groups_N.tolist())):
        kept_N = groups_N == group
        size = int(kept_N.sum())
        if size > 1:
            total = total + size * rbf_mmd2(student_NF[kept_N], teacher_NF[kept_N], **options)
            rows += size
    return total / max(1, rows)


def paired_distance(
    student_NF: Tensor, teacher_NF: Tensor, measure: Literal["cosine", "squared"] = "cosine"
) -> Tensor:
    """Mean over rows of 1 - cosine, or of the squared difference over features."""
    teacher_NF = teacher_NF.detach()
    if measure == "squared":
        return (student_NF - teacher_NF).square().mean()
    return (1 - torch.cosine_similarity(student_NF, teacher_NF, dim=-1)).mean()


@torch.no_grad()
def linear_time_mmd2(
    student_NF: Tensor,
    teacher_MF: Tensor,
    *,
    kernels: int = KERNELS,
    bandwidth: float | Tensor | None = None,
) -> Tensor:
    """Unbiased MMD^2 from consecutive pairs of rows, O(NF), variance O(1/N); for monitoring.

    Source: Gretton et al. 2012, Lemma 14.
    """
    refuse_features(student_NF, teacher_MF)
    mine_NF, theirs_MF = centred(student_NF, teacher_MF)
    kernel = kernel_of(mine_NF, theirs_MF, kernels, bandwidth)
    even = min(len(mine_NF), len(theirs_MF)) // 2 * 2
    x1, x2 = mine_NF[0:even:2], mine_NF[1:even:2]
    y1, y2 = theirs_MF[0:even:2], theirs_MF[1:even:2]

    def value(a: Tensor, b: Tensor) -> Tensor:
        return kernel.values((a - b).square().sum(1))

    return (value(x1, x2) + value(y1, y2) - value(x1, y2) - value(x2, y1)).mean()


@torch.no_grad()
def random_feature_mmd2(
    student_NF: Tensor,
    teacher_MF: Tensor,
    *,
    features: int = 2048,
    kernels: int = KERNELS,
    bandwidth: float | Tensor | None = None,
    seed: int = 0,
) -> Tensor:
    """MMD^2 from random Fourier features, O(NF * features); unbiased, for monitoring.

    Source: Rahimi and Recht 2007: frequencies of exp(-|x - y|^2 / s) are normal with variance 2/s.
    """
    refuse_features(student_NF, teacher_MF)
    mine_NF, theirs_MF = centred(student_NF, teacher_MF)
    kernel = kernel_of(mine_NF, theirs_MF, kernels, bandwidth)
    source = torch.Generator().manual_seed(seed)
    total = mine_NF.new_zeros(())
    for halving in range(kernels):
        shape = (mine_NF.shape[1], max(1, features // (2 * kernels)))
        frequencies_FJ = torch.randn(*shape, generator=source).to(mine_NF)
        frequencies_FJ *= (2 * 2.0**halving / kernel.widest).sqrt()
        total += feature_distance(mine_NF @ frequencies_FJ, theirs_MF @ frequencies_FJ)
    return total


def feature_distance(student_NJ: Tensor, teacher_MJ: Tensor) -> Tensor:
    """Unbiased |mean phi(x) - mean phi(y)|^2 for phi = (cos, sin) / sqrt(J), whose norm is 1."""
    terms: list[Tensor] = []
    means: list[Tensor] = []
    for phases in (student_NJ, teacher_MJ):
        mean_J = torch.cat([phases.cos().mean(0), phases.sin().mean(0)]) / phases.shape[1] ** 0.5
        rows = len(phases)
        terms.append((rows * mean_J.dot(mean_J) - 1) / (rows - 1))
        means.append(mean_J)
    return terms[0] + terms[1] - 2 * means[0].dot(means[1])
