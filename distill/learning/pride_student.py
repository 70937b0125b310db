"""A student with all that trains beside it, and the loss of a batch.

In: a causal model, gated attention to sources or none, a recipe; batches. Out: the loss

    ce CE + a tau^2 D(student, teacher) + b MMD^2(P(H'), h^T)

over response tokens, with its terms for the log. H' and h^T are last hidden states; P is a linear
projection, dropped with the attention when training ends. CE and D are summed over tokens and
divided by `count`, the tokens of the whole step, so they do not depend on how a step is cut into
batches. MMD^2 compares sets, so it is taken within a batch and weighted by its share of tokens.

Shapes: B rows, T tokens, S source tokens, L feature frames, F feature width, N response tokens, D
the student's width, E the teacher's.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.learning.divergence_rows import Divergence
from distill.learning.fused import Options, Scored, fused_linear_divergence
from distill.learning.mmd import rbf_mmd2
from distill.learning.multi_source import MultiSource, Sources, encoded
from distill.learning.projection import Head
from distill.learning.response_rows import response_rows
from distill.learning.stage import inner_model
from distill.learning.teacher import head_of
from distill.recipe import PrideLoss


@dataclass(frozen=True)
class Taking:
    """What the student reads of a batch, and may look at; `told_B` is m."""

    ids_BT: Tensor
    seen_BT: Tensor
    labels_BT: Tensor
    told_B: Tensor
    source_ids_BS: Tensor
    source_seen_BS: Tensor
    features_BLF: Tensor | None = None
    seen_BL: Tensor | None = None


@dataclass(frozen=True)
class Told:
    """What the teacher says of a batch: states, its head, a factor for each token."""

    hidden_NE: Tensor
    head: Head
    weights_N: Tensor | None = None


class Terms(NamedTuple):
    """The loss of a batch, and sums over its tokens without gradient."""

    loss: Tensor
    cross_entropy: Tensor
    divergence: Tensor
    teacher_cross_entropy: Tensor
    mmd: Tensor
    gate: Tensor
    tokens: Tensor


class PrideStudent(nn.Module):
    """The module that accelerate wraps, so that heads are whole while the loss is formed."""

    def __init__(
        self,
        student: Any,
        loss: PrideLoss,
        fusion: MultiSource | None = None,
        teacher_width: int | None = None,
    ) -> None:
        super().__init__()
        self.student, self.loss, self.fusion = student, loss, fusion
        width = inner_model(student).config.get_text_config().hidden_size
        self.projector: nn.Linear | None = None
        if loss.mmd_weight and teacher_width is not None:
            self.projector = nn.Linear(width, teacher_width, bias=False)
            if width == teacher_width:
                nn.init.eye_(self.projector.weight)

    def forward(
        self,
        taking: Taking,
        told: Told | None,
        count: float | Tensor,
        *,
        own_words: bool = False,
        plain: bool = False,
    ) -> Terms:
        """Terms of a batch; without a teacher the cross-entropy alone.

        own_words: the replies are the student's own, which the cross-entropy must not repeat.
        plain: the student that will be deployed; nobody is told anything, and no source is read.
        """
        states_ND, tokens_N, gate = self.states(taking, plain=plain)
        scored = self.scored(states_ND, tokens_N, told, count, own_words)
        mmd = states_ND.new_zeros(())
        if self.projector is not None and told is not None:
            mmd = self.distance(states_ND, told.hidden_NE)
        share = len(tokens_N) / count
        return Terms(
            scored.loss + self.loss.mmd_weight * share * mmd,
            scored.cross_entropy_N.sum(),
            scored.divergence_N.sum(),
            scored.teacher_cross_entropy_N.sum(),
            mmd.detach() * len(tokens_N),
            gate * len(tokens_N),
            tokens_N.new_tensor(len(tokens_N), dtype=torch.float32),
        )

    def states(self, taking: Taking, *, plain: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Response rows [N, D], their tokens [N] and the mean gate; `plain` tells nobody."""
        inner = inner_model(self.student)
        if self.fusion is not None:
            self.fusion.tell(None)
            if not plain:
                self.fusion.tell(self.sources(taking))
        out = inner.base_model(
            input_ids=taking.ids_BT, attention_mask=taking.seen_BT.long(), use_cache=False
        )
        states_ND, tokens_N = response_rows(out.last_hidden_state, taking.labels_BT)
        gate = states_ND.new_zeros(()) if self.fusion is None else self.fusion.gate_mean()
        return states_ND, tokens_N, gate

    def sources(self, taking: Taking) -> Sources:
        """What the told samples may look at; nothing is encoded for the others."""
        told_B, whole_BS = taking.told_B, taking.source_seen_BS
        longest = int((whole_BS & told_B[:, None]).sum(1).max())
        seen_BS = (whole_BS & told_B[:, None])[:, :longest]
        ids_BS = taking.source_ids_BS[:, :longest]
        found = encoded(self.student, ids_BS[told_B], seen_BS[told_B])
        states_BSD = found.new_zeros(*seen_BS.shape, found.shape[-1])
        states_BSD[told_B] = found
        return Sources(told_B, states_BSD, seen_BS, taking.features_BLF, taking.seen_BL)

    def scored(
        self,
        states_ND: Tensor,
        tokens_N: Tensor,
        told: Told | None,
        count: float | Tensor,
        own_words: bool,
    ) -> Scored:
        """Cross-entropy and divergence of rows, from one projection."""
        loss, head = self.loss, head_of(inner_model(self.student))
        with_teacher = told is not None and loss.divergence_weight > 0
        told = told if told is not None else uniform(states_ND, head)
        options: Options = {
            "labels_N": tokens_N,
            "weights_N": told.weights_N,
            "count": count,
            "temperature": loss.temperature,
            "divergence_weight": loss.divergence_weight * loss.temperature**2 * with_teacher,
            "cross_entropy_weight": 0.0 if own_words else loss.cross_entropy,
            "student_bias_V": head.bias_V,
            "student_logit_scale": head.scale,
            "student_softcap": head.softcap,
            "teacher_bias_V": told.head.bias_V,
            "teacher_logit_scale": told.head.scale,
            "teacher_softcap": told.head.softcap,
        }
        rows = (states_ND, head.weight_VD, told.hidden_NE, told.head.weight_VD)
        return fused_linear_divergence(*rows, divergence_of(loss), **options)

    def distance(self, states_ND: Tensor, teacher_NE: Tensor) -> Tensor:
        """MMD^2 of projected states; zero for a batch too small to estimate it."""
        assert self.projector is not None
        projected_NE: Tensor = self.projector(states_ND).float()
        if len(projected_NE) < 2:
            return projected_NE.sum() * 0.0
        return rbf_mmd2(projected_NE, teacher_NE.float(), kernels=self.loss.kernels)


def divergence_of(loss: PrideLoss) -> Divergence:
    """The divergence of a recipe; plain KL divergences have no share."""
    plain = loss.divergence in ("reverse-kl", "forward-kl")
    return Divergence(loss.divergence, 0.0 if plain else loss.share)


def uniform(states_ND: Tensor, head: Head) -> Told:
    """A teacher of width 1 without opinion, where no term asks for one."""
    zeros_N1 = states_ND.new_zeros(len(states_ND), 1)
    return Told(zeros_N1, Head(head.weight_VD.new_zeros(len(head.weight_VD), 1)))
