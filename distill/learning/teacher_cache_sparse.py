"""Reverse KL against a store over few tokens and one bucket, exact where the bucket is large.

In: the student's response rows and head; a store's states and log-normalizers, or its top-k rows.
Out: a loss with the gradient of what it says, the student's mass outside the kept tokens, and
which rows were scored over the whole vocabulary. Refused: a temperature other than 1, at which
the stored normalizers mean nothing; a head of another size (BadInput).

The *student's* likeliest tokens are kept, which makes its bucket smallest, and their
probabilities are asked of the store, one dot product each. The value is a lower bound (see
`teacher_cache_bucket`), so a row whose bucket is above a limit is scored over the whole
vocabulary. A top-k tier holds the teacher's likeliest tokens and cannot be asked for others: there
the value stays a lower bound.

Shapes: N rows, M rows with a label, R rows of a block, K kept tokens, V vocabulary, D the
student's width, E the teacher's.
"""

from dataclasses import dataclass
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.divergence_rows import Divergence
from distill.learning.fused import (
    CHUNK_BYTES,
    Options,
    Scored,
    gradients_wanted,
    picked,
    refuse_labels,
    refuse_states,
    row_weights,
    running_type,
    scoring_of,
    spread,
)
from distill.learning.fused_pass import FusedDivergence, row_scorer, slices, total_type
from distill.learning.masks import IGNORED
from distill.learning.projection import Head
from distill.learning.teacher_cache import Rows, logits_of
from distill.learning.teacher_cache_bucket import SMALLEST, BucketJob, Source, Support

KEEP, TAIL_AT_MOST = 256, 0.05
GATHERED_BYTES = 2**25


class SparseScored(NamedTuple):
    """The loss and figures of `fused`, the student's mass in the bucket, and the dense rows."""

    scored: Scored
    tail_N: Tensor
    dense_N: Tensor


@dataclass(frozen=True)
class Queried:
    """The student's likeliest tokens, asked of a store's states."""

    head: Head
    states_ME: Tensor
    normalizers_M: Tensor
    keep: int

    def support(self, rows: slice, student_RV: Tensor) -> Support:
        ids_RK = student_RV.topk(self.keep, -1, sorted=False).indices
        log_p_RK = self.log_p(rows, ids_RK)
        rest_R = (1 - log_p_RK.exp().sum(-1)).clamp(min=SMALLEST)
        return Support(ids_RK, log_p_RK, rest_R.log())

    def log_p(self, rows: slice, ids_RK: Tensor) -> Tensor:
        logits_RK = picked_logits(self.head, self.states_ME[rows], ids_RK)
        return logits_RK - self.normalizers_M[rows, None]

    def log_p_of_all(self, places_R: Tensor) -> Tensor:
        logits_RV = logits_of(self.head, self.states_ME[places_R])
        return logits_RV.sub_(self.normalizers_M[places_R, None])


@dataclass(frozen=True)
class Truncated:
    """The teacher's likeliest tokens, as they were stored."""

    stored: Support

    def support(self, rows: slice, student_RV: Tensor) -> Support:
        return Support(*(part_M[rows] for part_M in self.stored))

    def log_p(self, rows: slice, ids_RK: Tensor) -> Tensor:
        """NaN for a token that fell into the bucket: nobody knows its probability."""
        same_RKk = ids_RK[:, :, None] == self.stored.ids_RK[rows][:, None]
        log_p_RKk = self.stored.log_p_RK[rows][:, None].expand_as(same_RKk)
        found_RK = torch.where(same_RKk, log_p_RKk, -torch.inf).amax(-1)
        return torch.where(found_RK > -torch.inf, found_RK, torch.nan)

    def log_p_of_all(self, places_R: Tensor) -> Tensor:
        raise AssertionError("a top-k tier has no limit above which a row is scored densely")


def picked_logits(head: Head, hidden_RE: Tensor, ids_RK: Tensor) -> Tensor:
    """Logits of some tokens of each row [R, K], without those of the others."""
    weight_VE, kind = head.weight_VD, total_type(hidden_RE)
    row_bytes = ids_RK.shape[1] * weight_VE.shape[1] * kind.itemsize
    logits_RK = hidden_RE.new_empty(ids_RK.shape, dtype=kind)
    for rows in slices(len(ids_RK), GATHERED_BYTES // max(1, row_bytes)):
        weight_RKE = weight_VE[ids_RK[rows]].to(kind)
        logits_RK[rows] = torch.bmm(weight_RKE, hidden_RE[rows, :, None].to(kind))[:, :, 0]
    if head.bias_V is not None:
        logits_RK += head.bias_V[ids_RK].to(kind)
    logits_RK *= head.scale
    return logits_RK if head.softcap is None else (logits_RK / head.softcap).tanh() * head.softcap


def queried_reverse_kl(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    teacher_hidden_NE: Tensor,
    normalizers_N: Tensor,
    teacher_head: Head,
    *,
    keep: int = KEEP,
    tail_at_most: float = TAIL_AT_MOST,
    **options: Unpack[Options],
) -> SparseScored:
    """KL(student || store) over the student's `keep` likeliest tokens and a bucket.

    Rows whose bucket holds more than `tail_at_most` of the student's mass are scored exactly, over
    the whole vocabulary; `keep=0` scores all so. Options as in `fused`, without a temperature.
    """
    labels_N = options.get("labels_N")
    refuse_states(student_hidden_ND, teacher_hidden_NE, labels_N, options)
    refuse_rows(student_head_VD, len(teacher_head.weight_VD), options)
    kept_M = kept_rows(labels_N)
    states_ME = picked(teacher_hidden_NE.detach(), kept_M).to(running_type(teacher_hidden_NE))
    source = Queried(
        teacher_head,
        states_ME,
        picked(normalizers_N, kept_M),
        min(keep, len(teacher_head.weight_VD)),
    )
    return scored(
        student_hidden_ND, student_head_VD, teacher_head, source, tail_at_most, kept_M, options
    )


def top_k_reverse_kl(
    student_hidden_ND: Tensor,
    student_head_VD: Tensor,
    rows: Rows,
    vocabulary: int,
    **options: Unpack[Options],
) -> SparseScored:
    """A lower bound of KL(student || teacher) from the teacher's K likeliest tokens alone."""
    labels_N = options.get("labels_N")
    refuse_states(student_hidden_ND, rows["ids"], labels_N, options)
    refuse_rows(student_head_VD, vocabulary, options)
    kept_M = kept_rows(labels_N)
    stored = (rows["ids"].long(), rows["log_p"], rows["log_tail"])
    source = Truncated(Support(*(picked(part_N, kept_M) for part_N in stored)))
    nothing = Head(student_head_VD.new_empty(vocabulary, 0))
    return scored(student_hidden_ND, student_head_VD, nothing, source, torch.inf, kept_M, options)


def kept_rows(labels_N: Tensor | None) -> Tensor | None:
    return None if labels_N is None else (labels_N != IGNORED).nonzero()[:, 0]


def refuse_rows(head_VD: Tensor, vocabulary: int, options: Options) -> None:
    """BadInput where a store's normalizers do not answer."""
    if options.get("temperature", 1.0) != 1.0:
        raise BadInput(
            f"the temperature is {options['temperature']}, and a store's normalizers are those of "
            "temperature 1; take the fused loss on its states, which normalizes anew"
        )
    if len(head_VD) < vocabulary:
        raise BadInput(
            f"the student's head has {len(head_VD)} rows and the store {vocabulary} tokens; "
            "store a teacher with the student's tokenizer"
        )
    labels_N = options.get("labels_N")
    if labels_N is not None:
        refuse_labels(labels_N, vocabulary)


def scored(
    hidden_ND: Tensor,
    head_VD: Tensor,
    teacher_head: Head,
    source: Source,
    tail_at_most: float,
    kept_M: Tensor | None,
    options: Options,
) -> SparseScored:
    """Carry out a pass; figures stand in the places of all rows."""
    rows, labels_N = len(hidden_ND), options.get("labels_N")
    hidden_MD = picked(hidden_ND, kept_M).to(running_type(hidden_ND))
    trained = (hidden_MD, head_VD, options.get("student_bias_V"))
    job = BucketJob(
        scoring=scoring_of(Divergence("reverse-kl"), options),
        vocabulary=len(teacher_head.weight_VD),
        teacher_hidden_ME=hidden_MD,
        teacher_head=teacher_head,
        labels_M=None if labels_N is None else picked(labels_N, kept_M),
        weights_M=row_weights(hidden_MD, kept_M, options),
        summed=options.get("reduction", "mean") != "none",
        wanted=gradients_wanted(*trained),
        chunk_bytes=options.get("chunk_bytes") or CHUNK_BYTES.get(hidden_MD.device.type, 2**29),
        scorer=row_scorer("torch"),
        source=source,
        tail_at_most=tail_at_most,
        tail_M=hidden_MD.new_zeros(len(hidden_MD), dtype=total_type(hidden_MD)),
        dense_M=torch.zeros(len(hidden_MD), dtype=torch.bool, device=hidden_MD.device),
    )
    outputs: tuple[Tensor, ...] = FusedDivergence.apply(*trained, job)  # type: ignore[no-untyped-call]
    loss, *figures = outputs
    if not job.summed:
        loss = spread(loss, kept_M, rows)
    found = Scored(loss, *(spread(figure_M, kept_M, rows) for figure_M in figures))
    return SparseScored(found, spread(job.tail_M, kept_M, rows), spread(job.dense_M, kept_M, rows))
