"""Gemma 2: soft caps on attention and logits, every second layer with a window."""

from typing import Any

from export.architectures import decoder, gemma

NAME = "gemma2"
LAYERS_SCALED_BY_WIDTH = 46
EVERY = 2

computed = gemma.computed


def metadata(config: Any) -> dict[str, Any]:
    values = decoder.metadata(
        config, NAME, activation=gemma.ACTIVATION, stretching=("default",)
    ) | decoder.named(
        NAME,
        {
            "context_length": config.max_position_embeddings,
            "attention.sliding_window": config.sliding_window,
            "attn_logit_softcapping": float(config.attn_logit_softcapping or 0),
            "final_logit_softcapping": float(config.final_logit_softcapping or 0),
        },
    )
    if (pattern := gemma.windows(config, EVERY)) is not None:
        values[f"{NAME}.attention.sliding_window_pattern"] = pattern
    return values


def arrange(name: str, tensor: Any, config: Any) -> Any:
    factor = gemma.query_factor(config, LAYERS_SCALED_BY_WIDTH)
    if name.endswith("q_proj.weight") and factor != 1:
        return tensor.float() * factor
    return gemma.arrange(name, tensor, config)
