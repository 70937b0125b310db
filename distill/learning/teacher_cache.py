"""What a stored teacher is on the disk: names, header, and how a row of numbers is packed.

In: a teacher's last hidden states. Out: the tensors of a shard and their size; the states again.
Refused: a group that does not divide the teacher's width (BadInput).

A store is *queryable*: one state and one log-normalizer a response token, beside one copy of the
teacher's head. Any token's log-probability is then a dot product minus the normalizer, so the
exact reverse KL and the features of an MMD come from one file, and the teacher's body is not
needed again. The normalizer is that of the state as it will be read, so that probabilities still
sum to one.

Shapes: N response tokens, E the teacher's width, G groups of a row, V vocabulary, K kept tokens.
"""

import json
from typing import Any, Literal

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.core.jsonl import digest_text
from distill.core.records import Record
from distill.learning.fused_pass import slices, total_type
from distill.learning.projection import Head, project_

FORMAT = 1
HEADER, HEAD, VOCABULARY = "teacher.json", "head.safetensors", "vocabulary.json"
INDEX, CHECKED, SHARDS = "index.safetensors", "check.json", "rows-*.safetensors"
STEPS = 127  # of an int8 on either side of zero
LOGITS_BYTES = 2**26

Tier = Literal["states", "top-k"]
Precision = Literal["bf16", "int8"]
Rows = dict[str, Tensor]


class Identity(Record):
    """Whose numbers these are: all but the name must agree between who wrote and who reads."""

    teacher: str
    teacher_sha256: str
    vocabulary_sha256: str
    template_sha256: str
    prompt_sha256: str


class Layout(Record):
    """Which tensors a shard holds, and how large a row of them is."""

    tier: Tier
    width: int
    vocabulary: int
    precision: Precision = "bf16"
    group: int = 64
    top_k: int | None = None

    @property
    def row_bytes(self) -> int:
        """Bytes of one response token: its numbers, its normalizer or tail, its id."""
        if self.tier == "top-k":
            return 8 * (self.top_k or 0) + 8
        if self.precision == "int8":
            return self.width + 2 * self.width // self.group + 8
        return 2 * self.width + 8


class StoreHeader(Record):
    """All that a reader must know before it opens a shard."""

    format: int
    identity: Identity
    layout: Layout
    logit_scale: float
    softcap: float | None


def refuse_layout(layout: Layout) -> None:
    """BadInput when groups of an int8 state leave a rest, or no token is left for the bucket."""
    width, group = layout.width, layout.group
    if layout.top_k is not None and layout.top_k >= layout.vocabulary:
        raise BadInput(
            f"--top-k {layout.top_k} keeps all of {layout.vocabulary} tokens; leave it out, and "
            "states are stored, which are smaller and exact"
        )
    if layout.tier == "states" and layout.precision == "int8" and width % group:
        raise BadInput(
            f"groups of {group} do not fill a state of {width} numbers; give a --group that "
            f"divides it, such as {largest_group(width, group)}"
        )


def largest_group(width: int, at_most: int) -> int:
    return max(size for size in range(1, at_most + 1) if width % size == 0)


def vocabulary_digest(tokenizer: Any) -> str:
    """Digest of which id is which token: what two roles must share for a token-by-token loss."""
    return digest_text(json.dumps(sorted(tokenizer.get_vocab().items())))


def vocabulary_size(tokenizer: Any) -> int:
    """Rows of a head that stand for a token; the rest is padding, which a store leaves out."""
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return 1 + max(vocabulary.values())


def pack(hidden_NE: Tensor, layout: Layout) -> Rows:
    """States as a shard holds them: bf16, or int8 with one bf16 scale a group."""
    if layout.precision == "bf16":
        return {"hidden": hidden_NE.to(torch.bfloat16)}
    grouped_NGe = hidden_NE.float().view(len(hidden_NE), -1, layout.group)
    scale_NG = (grouped_NGe.abs().amax(-1) / STEPS).to(torch.bfloat16)
    steps_NGe = grouped_NGe / scale_NG.float().clamp(min=torch.finfo().tiny)[..., None]
    whole_NGe = steps_NGe.round_().clamp_(-STEPS, STEPS).to(torch.int8)
    return {"hidden": whole_NGe.flatten(1), "scale": scale_NG}


def unpack(rows: Rows, layout: Layout) -> Tensor:
    """The states [N, E] in fp32."""
    hidden_NE = rows["hidden"].float()
    if layout.precision == "bf16":
        return hidden_NE
    grouped_NGe = hidden_NE.view(len(hidden_NE), -1, layout.group)
    return grouped_NGe.mul_(rows["scale"].float()[..., None]).view_as(hidden_NE)


def logits_of(head: Head, hidden_NE: Tensor) -> Tensor:
    """The head's logits [N, V] in fp32 (fp64 for fp64 states)."""
    shape, kind = (len(hidden_NE), len(head.weight_VD)), total_type(hidden_NE)
    logits_NV = hidden_NE.new_empty(shape, dtype=kind)
    project_(head, hidden_NE, logits_NV, 1.0)
    return logits_NV


def log_normalizers(head: Head, hidden_NE: Tensor) -> Tensor:
    """Log-sum-exp of the logits [N] in fp32, a few rows at a time."""
    normalizers_N = hidden_NE.new_empty(len(hidden_NE), dtype=torch.float32)
    for rows in slices(len(hidden_NE), rows_at_once(head)):
        normalizers_N[rows] = torch.logsumexp(logits_of(head, hidden_NE[rows]), -1)
    return normalizers_N


def rows_at_once(head: Head) -> int:
    return max(1, LOGITS_BYTES // (4 * len(head.weight_VD)))
