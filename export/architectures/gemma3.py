"""Gemma 3 (text): normed q and k, one layer in six sees everything and has its own rotary base."""

from typing import Any

from distill.core.errors import Unsupported
from export.architectures import decoder, gemma

NAME = "gemma3"
LAYERS_SCALED_BY_WIDTH = 62
EVERY = 6

computed = gemma.computed


def metadata(config: Any) -> dict[str, Any]:
    if getattr(config, "attn_logit_softcapping", None):
        raise Unsupported("attn_logit_softcapping in config.json; GGUF cannot say it for gemma3")
    if getattr(config, "use_bidirectional_attention", False):
        raise Unsupported("use_bidirectional_attention in config.json; it is no chat model")
    near = decoder.rope(config, "sliding_attention")
    if near.get("rope_type", "default") != "default":
        raise Unsupported(f"rope type '{near['rope_type']}' of sliding layers in config.json")
    values = decoder.metadata(
        config, NAME, activation=gemma.ACTIVATION, stretching=("default", "linear")
    ) | decoder.named(
        NAME,
        {
            "context_length": config.max_position_embeddings,
            "attention.sliding_window": config.sliding_window,
            "rope.freq_base_swa": float(near["rope_theta"]),
        },
    )
    if cap := config.final_logit_softcapping:
        values[f"{NAME}.final_logit_softcapping"] = float(cap)
    if (pattern := gemma.windows(config, EVERY)) is not None:
        values[f"{NAME}.attention.sliding_window_pattern"] = pattern
    return values


def arrange(name: str, tensor: Any, config: Any) -> Any:
    """The attention scale goes into the norm of q, which rotary positions do not touch."""
    arranged = gemma.arrange(name, tensor, config)
    if name.endswith("q_norm.weight"):
        return arranged * gemma.query_factor(config, LAYERS_SCALED_BY_WIDTH)
    return arranged
