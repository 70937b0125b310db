"""A language-model head for CPUs that scores reply tokens only.

In: a model that TRL has given its fused head. Out: the same model, whose calls with
`fused_lm_head=True` return the same figures for less work: off a GPU, TRL projects every position
of the prompt too, and passes over the logits about ten times.

Shapes: B rows, T tokens, N reply tokens, D width, V vocabulary.
"""

import types
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from trl.trainer.utils import FusedCausalLMOutput

IGNORED = -100
LOGITS_AT_ONCE = 2**24
# What a model may do to its logits, or add to its loss, that this head does not know of.
UNKNOWN = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
    "output_router_logits",
)
split: Any = torch.split
Figures = tuple[Tensor, Tensor, Tensor, Tensor]


def use_reply_head(student: Any) -> bool:
    """Give a causal model the head; False, and untouched, when its logits are not plain."""
    config = student.config.get_text_config()
    if any(getattr(config, name, None) for name in UNKNOWN):
        return False
    plain_forward = type(student).forward

    def forward(self: Any, *args: Any, fused_lm_head: bool = False, **kwargs: Any) -> Any:
        if not fused_lm_head:
            return plain_forward(self, *args, **kwargs)
        labels_BT = kwargs.pop("labels")[:, 1:]
        kwargs["use_cache"] = False
        hidden_BTD = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        return scored(hidden_BTD, labels_BT, self.get_output_embeddings())

    student.forward = types.MethodType(forward, student)
    return True


def scored(hidden_BTD: Tensor, labels_BT: Tensor, head: Any) -> FusedCausalLMOutput:
    """Log-probability of each reply token; zero where no loss is."""
    mask_BT = labels_BT != IGNORED
    hidden_ND, labels_N = hidden_BTD[mask_BT], labels_BT[mask_BT]
    rows = max(1, LOGITS_AT_ONCE // head.weight.shape[0])
    pieces = [
        checkpoint(figures, part_ND, part_N, head, use_reentrant=False)
        if len(labels_N) > rows
        else figures(part_ND, part_N, head)
        for part_ND, part_N in zip(split(hidden_ND, rows), split(labels_N, rows), strict=True)
    ]
    log_probs_BT, entropy_BT, mean_logits_BT, top_BT = (
        torch.cat(kind).new_zeros(mask_BT.shape).masked_scatter(mask_BT, torch.cat(kind))
        for kind in zip(*pieces, strict=True)
    )
    return FusedCausalLMOutput(
        loss=-log_probs_BT.sum() / mask_BT.sum().clamp(min=1),
        log_probs=log_probs_BT,
        entropy=entropy_BT,
        mean_logits=mean_logits_BT,
        is_top1=top_BT,
        label_mask=mask_BT,
    )


def figures(hidden_ND: Tensor, labels_N: Tensor, head: Any) -> Figures:
    """Log-probability with its gradient; entropy, mean logit and whether it is the likeliest."""
    logits_NV = head(hidden_ND).float()
    logs_NV = torch.log_softmax(logits_NV, -1)
    log_probs_N = logs_NV.gather(-1, labels_N[:, None])[:, 0]
    with torch.no_grad():
        entropy_N = -(logs_NV.exp() * logs_NV).sum(-1)
        return log_probs_N, entropy_N, logits_NV.mean(-1), logs_NV.argmax(-1) == labels_N
