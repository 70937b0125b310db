"""Phi-3, Phi-3.5-mini and Phi-4-mini: fused projections as they are, two sets of rotary factors."""

from typing import Any

from distill.core.errors import Unsupported
from export.architectures import decoder

NAME = "phi3"


def metadata(config: Any) -> dict[str, Any]:
    values = decoder.metadata(config, NAME, stretching=("default", "longrope"))
    if decoder.head_width(config) * config.num_attention_heads != config.hidden_size:
        raise Unsupported("head_dim in config.json; GGUF knows phi3 with hidden_size / heads only")
    own: dict[str, Any] = {
        # llama.cpp assumes a window where the key is missing.
        "attention.sliding_window": 0,
        "rope.scaling.original_context_length": original(config),
    }
    if stretched(config):
        own["rope.scaling.attn_factor"] = decoder.attention_factor(config, "longrope")
    return values | decoder.named(NAME, own)


def arrange(name: str, tensor: Any, config: Any) -> Any:
    return tensor


def computed(config: Any) -> dict[str, Any]:
    """Divisors of the rotary frequencies, `[rotary width / 2]`, for long texts and for short."""
    if not stretched(config):
        return {}
    import torch

    return {
        f"rope_factors_{kind}.weight": torch.tensor(decoder.rope(config)[f"{kind}_factor"]).float()
        for kind in ("long", "short")
    }


def stretched(config: Any) -> bool:
    return bool(decoder.rope(config).get("rope_type") == "longrope")


def original(config: Any) -> int:
    """Positions up to which the short factors hold."""
    found = decoder.rope(config).get("original_max_position_embeddings")
    return int(
        found
        or getattr(config, "original_max_position_embeddings", None)
        or config.max_position_embeddings
    )
