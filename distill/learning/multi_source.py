"""Multi-source attention: a student looks at what only training knows, through a gate on its side.

In: any causal decoder, the layers to reach, sources of a batch: states of privileged texts, as
the student itself encodes them, and feature sequences of another modality. Out: the same student,
whose chosen layers add a gated attention to their output while sources are told, and which is
bit for bit what it was once `tell(None)` is said or the hooks are removed. Refused: a student
whose layers we do not find (Unsupported), a layer that it does not have, a width that the heads do
not divide, features of another width (BadInput).

After arXiv 2606.23124, of which only the abstract was at hand: the form is ours (docs/pride.md).
With H the output of a layer, E the sources and e0 a learned null state, which stands for "none of
this matters here":

    A = W_o attention(W_q H, W_k [E; e0], W_v [E; e0]),  g = sigmoid(w [H; A]),  H' = H + m g A

H and E are normalized before the projections, since residual streams differ in scale. W_o starts
at zero: at the first step a student that is told something still says what the plain one says.

Shapes: B samples, T tokens, S source tokens, L feature frames, F feature width, D width.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from distill.core.errors import BadInput, Unsupported
from distill.learning.stage import inner_model


class Sources(NamedTuple):
    """What a batch may look at; `told_B` is m, whether a sample may look at all.

    Masks are True where there is something. Features are as wide as the fusion was made for.
    """

    told_B: Tensor
    states_BSD: Tensor
    seen_BS: Tensor
    features_BLF: Tensor | None = None
    seen_BL: Tensor | None = None


class Gated(NamedTuple):
    """What a layer adds, and how far its gate was open."""

    added_BTD: Tensor
    gate_BT1: Tensor


class GatedAttention(nn.Module):
    """One layer's look at the sources."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.gate = nn.Linear(2 * width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, hidden_BTD: Tensor, sources_BSD: Tensor, seen_BS: Tensor) -> Gated:
        normal_BTD = nn.functional.rms_norm(hidden_BTD, hidden_BTD.shape[-1:])
        found = nn.functional.scaled_dot_product_attention(
            self.split(self.query(normal_BTD)),
            self.split(self.key(sources_BSD)),
            self.split(self.value(sources_BSD)),
            attn_mask=seen_BS[:, None, None, :],
        )
        looked_BTD = self.out(found.transpose(1, 2).flatten(2))
        gate_BT1 = torch.sigmoid(self.gate(torch.cat([normal_BTD, looked_BTD], -1)))
        return Gated(gate_BT1 * looked_BTD, gate_BT1)

    def split(self, states_BSD: Tensor) -> Tensor:
        rows, tokens, width = states_BSD.shape
        return states_BSD.view(rows, tokens, self.heads, width // self.heads).transpose(1, 2)


class MultiSource(nn.Module):
    """The looks of all chosen layers, the null state, and what is told at the moment.

    What was told stays until the next `tell`: with gradient checkpointing the layers run again in
    the backward pass, and must see the same.
    """

    def __init__(
        self, width: int, layers: Sequence[int], heads: int, feature_width: int | None = None
    ) -> None:
        super().__init__()
        if width % heads:
            raise BadInput(
                f"sources.heads is {heads}, which does not divide the student's width {width}"
            )
        self.looks = nn.ModuleDict({str(layer): GatedAttention(width, heads) for layer in layers})
        self.null_D = nn.Parameter(torch.zeros(width))
        self.feature_width = feature_width
        self.features = None if feature_width is None else nn.Linear(feature_width, width)
        self.sources: Sources | None = None
        self.gates: dict[str, Tensor] = {}

    def tell(self, sources: Sources | None) -> None:
        """Let the next forward and backward pass look at these; None leaves the plain student."""
        if sources is not None and sources.features_BLF is not None:
            self.refuse_features(sources.features_BLF)
        self.sources, self.gates = sources, {}

    def refuse_features(self, features_BLF: Tensor) -> None:
        if features_BLF.shape[-1] != self.feature_width:
            raise BadInput(
                f"features are {features_BLF.shape[-1]} wide and the sources were made for "
                f"{self.feature_width}; all files of a run must have one width"
            )

    def gate_mean(self) -> Tensor:
        """Mean gate over layers and tokens of the samples that were told, zero without any."""
        found = [gate.detach().float().mean() for gate in self.gates.values() if gate.numel()]
        return torch.stack(found).mean() if found else self.null_D.new_zeros(())

    def attended(self, sources: Sources, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """Keys [B, S + L + 1, D] with the null state at their end, and where there are any."""
        states = [sources.states_BSD.to(dtype)]
        seen = [sources.seen_BS]
        if sources.features_BLF is not None and sources.seen_BL is not None:
            assert self.features is not None
            states.append(self.features(sources.features_BLF.to(dtype)))
            seen.append(sources.seen_BL)
        states_BSD = torch.cat(states, 1)
        states_BSD = nn.functional.rms_norm(states_BSD, states_BSD.shape[-1:])
        null_B1D = self.null_D.to(dtype).expand(len(states_BSD), 1, -1)
        always_B1 = torch.ones_like(sources.told_B)[:, None]
        return torch.cat([states_BSD, null_B1D], 1), torch.cat([*seen, always_B1], 1)

    def look(self, layer: str, hidden_BTD: Tensor) -> Tensor:
        """H' for the samples that are told, H itself for the others."""
        if self.sources is None:
            return hidden_BTD
        dtype = self.null_D.dtype
        told_B = self.sources.told_B
        with torch.autocast(hidden_BTD.device.type, enabled=False):
            keys_BSD, seen_BS = self.attended(self.sources, dtype)
            added_BTD, gate_BT1 = self.looks[layer](hidden_BTD.to(dtype), keys_BSD, seen_BS)
        self.gates[layer] = gate_BT1[told_B]
        told_BTD = hidden_BTD + added_BTD.to(hidden_BTD.dtype)
        return torch.where(told_B[:, None, None], told_BTD, hidden_BTD)


def decoder_layers(student: Any, name: str = "the student") -> nn.ModuleList:
    """The list of a decoder's layers, by their number; Unsupported when there is none."""
    inner = inner_model(student)
    number = inner.config.get_text_config().num_hidden_layers
    for module in inner.get_decoder().modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise Unsupported(
        f"{name} ({inner.config.model_type}) has no list of {number} decoder layers, so its layers "
        "cannot be given sources; say sources: null in the recipe"
    )


def layer_indices(wanted: Sequence[int] | str, number: int) -> list[int]:
    """Indices from 0; negative ones count from the end, "last" is the last."""
    given = [number - 1] if isinstance(wanted, str) else list(wanted)
    wrong = [index for index in given if not -number <= index < number]
    if wrong or not given:
        raise BadInput(
            f"sources.layers names layer {wrong[0] if wrong else 'none'}, and the student has "
            f"layers 0 to {number - 1}; name some of these, or say last"
        )
    return sorted({index % number for index in given})


@contextmanager
def attached(fusion: MultiSource, student: Any) -> Iterator[MultiSource]:
    """Hooks on the student's layers for the length of a block; the student is not edited."""
    layers = decoder_layers(student)
    handles = [layers[int(name)].register_forward_hook(hook(fusion, name)) for name in fusion.looks]
    try:
        yield fusion
    finally:
        fusion.tell(None)
        for handle in handles:
            handle.remove()


def hook(fusion: MultiSource, layer: str) -> Any:
    """A layer returns its output, or a tuple that begins with it."""

    def look(module: nn.Module, arguments: Any, output: Any) -> Any:
        if isinstance(output, tuple):
            return (fusion.look(layer, output[0]), *output[1:])
        return fusion.look(layer, output)

    return look


@torch.no_grad()
def encoded(student: Any, ids_BS: Tensor, seen_BS: Tensor) -> Tensor:
    """Last hidden states [B, S, D] of privileged texts under the plain student, no gradient."""
    inner = inner_model(student)
    if not ids_BS.numel():
        width = inner.config.get_text_config().hidden_size
        return ids_BS.new_zeros(*ids_BS.shape, width, dtype=torch.float32)
    # A row without any text keeps one token in sight, or its attention has nothing to look at.
    sight_BS = seen_BS | (torch.arange(ids_BS.shape[1], device=ids_BS.device) == 0)
    states_BSD: Tensor = inner.base_model(
        input_ids=ids_BS, attention_mask=sight_BS.long(), use_cache=False
    ).last_hidden_state
    return states_BSD
