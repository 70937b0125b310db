"""Exact divergences from hidden states and heads, without the logits of a sequence in memory.

In: last hidden states of the response rows, student's and teacher's heads. Out: a loss whose
gradient reaches the student's states, head and bias. Refused: heads of different tokenizers,
states of different length, a label outside the vocabulary (BadInput).

Rows are taken in chunks from a byte budget. Each chunk's logits are projected once: its gradient
is formed in the forward pass, while they are there, and only [N, D] (and [V, D] for a head that
trains) is kept. Formulas are those of `losses`; the pass over chunks is
`fused_pass`, the arithmetic on their rows `divergence_rows`.

The teacher gets no gradient. Probabilities are compared token by token, so both heads must belong
to one tokenizer; heads padded to different sizes are cut to the part that both have, and the
cross-entropy is taken over that part too. For other tokenizers see `losses`.

Shapes: N rows (response tokens), M rows with a label, V vocabulary, D the student's width, E the
teacher's.
"""

from typing import Literal, NamedTuple, TypedDict, Unpack

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.divergence_rows import Divergence, Scoring
from distill.learning.fused_pass import FusedDivergence, Job, Wanted, row_scorer, total_type
from distill.learning.losses import common_vocabulary
from distill.learning.masks import IGNORED
from distill.learning.projection import Head

Reduction = Literal["mean", "sum", "none"]
# Two tiles of a chunk. Each chunk reads the heads again, which a GPU feels below 400 rows or so.
CHUNK_BYTES = {"cpu": 2**27, "cuda": 2**29}


class Options(TypedDict, total=False):
    """What every loss here takes.

    temperature: divides both roles' logits in the divergence; the value is not multiplied by its
        square. Cross-entropy is always at temperature 1.
    reduction: "mean" divides the weighted sum by `count`, "sum" does not, "none" gives one value
        a row (zero where the label is ignored) and projects again in the backward pass.
    labels_N: the token of each row; rows labelled -100 are dropped before any projection.
    weights_N: a factor for each row, as from the leakage gauge.
    count: rows that a mean divides by, by default those that are kept; under gradient
        accumulation the response tokens of the whole step.
    divergence_weight, cross_entropy_weight: factors of the two terms; the second needs labels.
    student_bias_V, teacher_bias_V: biases of the heads.
    student_logit_scale, teacher_logit_scale: a factor on the logits, before any soft cap.
    student_softcap, teacher_softcap: cap tanh(logits / cap).
    chunk_bytes: memory for the two tiles of logits.
    kernel: "triton" on a GPU; it has passed no test on one yet, so it must be asked for.
    """

    temperature: float
    reduction: Reduction
    labels_N: Tensor | None
    weights_N: Tensor | None
    count: float | Tensor | None
    divergence_weight: float
    cross_entropy_weight: float
    student_bias_V: Tensor | None
    teacher_bias_V: Tensor | None
    student_logit_scale: float
    teacher_logit_scale: float
    student_softcap: float | None
    teacher_softcap: float | None
    chunk_bytes: int | None
    kernel: Literal["torch", "triton"]


class Scored(NamedTuple):
    """The loss, and figures of each row for the log (nats, no gradient, zero where ignored)."""

    loss: Tensor
    divergence_N: Tensor
    cross_entropy_N: Tensor
    teacher_cross_entropy_N: Tensor


def fused_linear_reverse_kl(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    **options: Unpack[Options],
) -> Tensor:
    """KL(student || teacher); see `losses.reverse_kl` and `Options`.

    Source: arXiv 2306.08543; gradient q (delta - E_q[delta]).
    """
    return fused_linear_divergence(
        student_hidden_ND, student_head_VD, teacher_hidden_NE, teacher_head_VE, **options
    ).loss


def fused_linear_forward_kl(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    **options: Unpack[Options],
) -> Tensor:
    """KL(teacher || student); see `losses.forward_kl` and `Options`.

    Source: arXiv 1503.02531.
    """
    states = (student_hidden_ND, student_head_VD, teacher_hidden_NE, teacher_head_VE)
    return fused_linear_divergence(*states, Divergence("forward-kl"), **options).loss


def fused_linear_jsd(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    *,
    beta: float = 0.5,
    **options: Unpack[Options],
) -> Tensor:
    """Generalized Jensen-Shannon divergence; see `losses.generalized_jsd` and `Options`.

    Source: arXiv 2306.13649.
    """
    states = (student_hidden_ND, student_head_VD, teacher_hidden_NE, teacher_head_VE)
    return fused_linear_divergence(*states, Divergence("jsd", beta), **options).loss


def fused_linear_skewed_kl(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    *,
    alpha: float = 0.1,
    direction: Literal["forward", "reverse"] = "reverse",
    **options: Unpack[Options],
) -> Tensor:
    """KL against a mixture with itself; see `losses.skewed_reverse_kl` and `Options`.

    Source: arXiv 2402.03898.
    """
    divergence = Divergence(
        "skewed-forward-kl" if direction == "forward" else "skewed-reverse-kl", alpha
    )
    states = (student_hidden_ND, student_head_VD, teacher_hidden_NE, teacher_head_VE)
    return fused_linear_divergence(*states, divergence, **options).loss


def fused_linear_divergence(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    teacher_head_VE: Tensor,
    divergence: Divergence = Divergence(),
    **options: Unpack[Options],
) -> Scored:
    """Any divergence with the figures of its rows; the other functions give its loss alone.

    Half-precision states are multiplied as they are and summed in fp32; under autocast the heads
    are narrowed to its type. The first backward pass hands out what the forward pass formed; a
    second one through the same graph, and one of reduction "none", project again.
    """
    labels_N = options.get("labels_N")
    refuse_states(student_hidden_ND, teacher_hidden_NE, labels_N, options)
    vocabulary = common_vocabulary(student_head_VD.shape[0], teacher_head_VE.shape[0])
    if labels_N is not None:
        refuse_labels(labels_N, vocabulary)
    kept_M = None if labels_N is None else (labels_N != IGNORED).nonzero()[:, 0]
    dtype = running_type(student_hidden_ND)
    hidden_MD = picked(student_hidden_ND, kept_M).to(dtype)
    bias_V = options.get("student_bias_V")
    teacher_ME = picked(teacher_hidden_NE.detach(), kept_M).to(running_type(teacher_hidden_NE))
    trained = (hidden_MD, student_head_VD, bias_V)
    job = Job(
        scoring=scoring_of(divergence, options),
        vocabulary=vocabulary,
        teacher_hidden_ME=teacher_ME,
        teacher_head=teacher_of(teacher_head_VE, options).cut(vocabulary),
        labels_M=None if labels_N is None else picked(labels_N, kept_M),
        weights_M=row_weights(hidden_MD, kept_M, options),
        summed=options.get("reduction", "mean") != "none",
        wanted=gradients_wanted(*trained),
        chunk_bytes=options.get("chunk_bytes") or CHUNK_BYTES.get(hidden_MD.device.type, 2**29),
        scorer=row_scorer(options.get("kernel", "torch")),
    )
    outputs: tuple[Tensor, ...] = FusedDivergence.apply(*trained, job)  # type: ignore[no-untyped-call]
    loss, *figures = outputs
    rows = student_hidden_ND.shape[0]
    if not job.summed:
        loss = spread(loss, kept_M, rows)
    return Scored(loss, *(spread(figure_M, kept_M, rows) for figure_M in figures))


def gradients_wanted(*trained: Tensor | None) -> Wanted:
    """Which of states, head and bias need a gradient: a frozen head costs none."""
    on = torch.is_grad_enabled()
    hidden, head, bias = (on and x is not None and x.requires_grad for x in trained)
    return Wanted(hidden, head, bias)


def refuse_states(
    student_hidden_ND: Tensor, teacher_hidden_NE: Tensor, labels_N: Tensor | None, options: Options
) -> None:
    """BadInput when rows are not one to one, or a term lacks its labels."""
    sizes = {student_hidden_ND.shape[0], teacher_hidden_NE.shape[0]}
    if labels_N is not None:
        sizes.add(labels_N.shape[0])
    if len(sizes) > 1:
        raise BadInput(
            f"student, teacher and labels have {sorted(sizes)} rows; row n of each must be the "
            "same response token (see response_rows)"
        )
    if options.get("cross_entropy_weight") and labels_N is None:
        raise BadInput("cross_entropy_weight is set but labels_N is not; give the labels")


def refuse_labels(labels_N: Tensor, vocabulary: int) -> None:
    """BadInput when a label is no token that both heads have."""
    wrong_N = (labels_N >= vocabulary) | ((labels_N < 0) & (labels_N != IGNORED))
    if bool(wrong_N.any()):
        raise BadInput(
            f"label {labels_N[wrong_N][0].item()} lies outside the {vocabulary} tokens that both "
            "heads have; were the labels made with another tokenizer?"
        )


def scoring_of(divergence: Divergence, options: Options) -> Scoring:
    return Scoring(
        divergence=divergence,
        temperature=options.get("temperature", 1.0),
        divergence_weight=options.get("divergence_weight", 1.0),
        cross_entropy_weight=options.get("cross_entropy_weight", 0.0),
        softcap=options.get("student_softcap"),
        scale=options.get("student_logit_scale", 1.0),
    )


def teacher_of(weight_VE: Tensor, options: Options) -> Head:
    bias_V = options.get("teacher_bias_V")
    return Head(
        weight_VE.detach(),
        None if bias_V is None else bias_V.detach(),
        options.get("teacher_logit_scale", 1.0),
        options.get("teacher_softcap"),
    )


def row_weights(hidden_MD: Tensor, kept_M: Tensor | None, options: Options) -> Tensor:
    """The factor of each kept row in the loss, its share in the mean included."""
    given_N, count = options.get("weights_N"), options.get("count")
    kind = total_type(hidden_MD)
    if given_N is None:
        weights_M = hidden_MD.new_ones(hidden_MD.shape[0], dtype=kind)
    else:
        weights_M = picked(given_N.detach(), kept_M).to(kind)
    if options.get("reduction", "mean") != "mean":
        return weights_M
    return weights_M / (max(1, hidden_MD.shape[0]) if count is None else count)


def running_type(states: Tensor) -> torch.dtype:
    """The type in which states are multiplied: autocast's where it is on."""
    device = states.device.type
    on = torch.is_autocast_enabled(device) and states.dtype != torch.float64
    return torch.get_autocast_dtype(device) if on else states.dtype


def picked(rows: Tensor, kept_M: Tensor | None) -> Tensor:
    return rows if kept_M is None else rows.index_select(0, kept_M)


def spread(values_M: Tensor, kept_M: Tensor | None, rows: int) -> Tensor:
    """Values of kept rows in the places of all rows."""
    if kept_M is None:
        return values_M
    return values_M.new_zeros(rows).index_copy(0, kept_M, values_M)
