"""Granite 3: Llama with four multipliers, which the header names."""

from typing import Any

from export.architectures import decoder, llama

NAME = "granite"

arrange, computed = llama.arrange, llama.computed


def metadata(config: Any) -> dict[str, Any]:
    multipliers = {
        "attention.scale": config.attention_multiplier,
        "embedding_scale": config.embedding_multiplier,
        "residual_scale": config.residual_multiplier,
        "logit_scale": config.logits_scaling,
    }
    values = decoder.named(NAME, {key: float(value) for key, value in multipliers.items()})
    return decoder.metadata(config, NAME, stretching=(*decoder.STRETCHING, "llama3")) | values
