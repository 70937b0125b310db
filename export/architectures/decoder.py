"""What decoders of Llama's shape have in common: sizes, rotary positions, windows.

In: a config of transformers 4 or 5. Out: header keys and computed tensors. Refused: activations
and rotary scalings that llama.cpp does not run for the architecture (Unsupported).
"""

import math
from typing import Any

from distill.core.errors import Unsupported

STRETCHING = ("default", "linear", "yarn")


def head_width(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def rope(config: Any, layers: str = "full_attention") -> dict[str, Any]:
    """Rotary parameters of a config; `layers` picks the kind where a config has several."""
    parameters = dict(config.rope_parameters or {})
    parameters = dict(parameters.get(layers) or parameters)
    parameters.setdefault("rope_theta", getattr(config, "rope_theta", 10000.0))
    return parameters


def metadata(
    config: Any, name: str, *, activation: str = "silu", stretching: tuple[str, ...] = STRETCHING
) -> dict[str, Any]:
    """The header that llama.cpp wants of any such decoder."""
    found = getattr(config, "hidden_activation", None) or config.hidden_act
    if found != activation:
        raise Unsupported(f"activation '{found}' in config.json; {name} needs '{activation}'")
    width = head_width(config)
    values = {
        "context_length": context_length(config),
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": int(width * rope(config).get("partial_rotary_factor", 1.0)),
        "rope.freq_base": float(rope(config)["rope_theta"]),
        "vocab_size": config.vocab_size,
    }
    return named(name, values | scaling(config, name, stretching))


def named(name: str, values: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in values.items()}


def context_length(config: Any) -> int:
    """Positions for which the file is exact: llama.cpp has no window for these decoders.

    Attention within a window is full attention as long as the text fits the window.
    """
    longest = int(config.max_position_embeddings)
    return min(longest, getattr(config, "sliding_window", None) or longest)


def scaling(config: Any, name: str, known: tuple[str, ...]) -> dict[str, Any]:
    """How positions are stretched; `llama3` is a tensor instead, see `frequency_factors`."""
    parameters = rope(config)
    kind = parameters.get("rope_type", "default")
    if kind not in known:
        raise Unsupported(
            f"rope type '{kind}' in config.json; for {name} the GGUF export knows "
            + ", ".join(known)
        )
    if kind not in ("linear", "yarn"):
        return {}
    values = {"rope.scaling.type": kind, "rope.scaling.factor": float(parameters["factor"])}
    return values | (yarn(config) if kind == "yarn" else {})


def yarn(config: Any) -> dict[str, Any]:
    """Where YaRN's ramp lies; llama.cpp computes the attention factor from the stretch itself."""
    parameters = rope(config)
    usual = 0.1 * math.log(parameters["factor"]) + 1
    original = parameters.get("original_max_position_embeddings") or config.max_position_embeddings
    return {
        "rope.scaling.original_context_length": original,
        "rope.scaling.attn_factor": attention_factor(config, "yarn") / usual,
        "rope.scaling.yarn_beta_fast": float(parameters.get("beta_fast") or 32),
        "rope.scaling.yarn_beta_slow": float(parameters.get("beta_slow") or 1),
    }


def attention_factor(config: Any, kind: str) -> float:
    return float(initial(config, kind)[1])


def initial(config: Any, kind: str) -> tuple[Any, float]:
    """Inverse frequencies `[rotary width / 2]` and attention factor, as transformers has them."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    frequencies, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    return frequencies, factor


def frequency_factors(config: Any) -> dict[str, Any]:
    """Divisors of the rotary frequencies, `[head width / 2]`, for `llama3` scaling."""
    if rope(config).get("rope_type") != "llama3":
        return {}
    import torch

    width = head_width(config)
    plain = rope(config)["rope_theta"] ** -(torch.arange(0, width, 2).float() / width)
    return {"rope_freqs.weight": plain / initial(config, "llama3")[0]}
