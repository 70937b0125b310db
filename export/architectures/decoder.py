"""What decoders of Llama's shape have in common: sizes, rotary positions."""

from typing import Any

from distill.core.errors import Unsupported


def head_width(config: Any) -> int:
    return int(
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )


def rope(config: Any) -> dict[str, Any]:
    """Rotary parameters of a config written by transformers 4 or 5."""
    parameters = dict(config.rope_parameters or {})
    parameters.setdefault("rope_theta", getattr(config, "rope_theta", 10000.0))
    return parameters


def metadata(config: Any, name: str) -> dict[str, Any]:
    """The header that llama.cpp wants of any such decoder."""
    if config.hidden_act != "silu":
        raise Unsupported(f"activation '{config.hidden_act}' in config.json; {name} needs 'silu'")
    width = head_width(config)
    values = {
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": config.num_key_value_heads,
        "attention.key_length": width,
        "attention.value_length": width,
        "attention.layer_norm_rms_epsilon": float(config.rms_norm_eps),
        "rope.dimension_count": width,
        "rope.freq_base": float(rope(config)["rope_theta"]),
        "vocab_size": config.vocab_size,
    }
    return {f"{name}.{key}": value for key, value in (values | scaling(config)).items()}


def scaling(config: Any) -> dict[str, Any]:
    """How positions are stretched; `llama3` is a tensor instead, see `frequency_factors`."""
    kind = rope(config).get("rope_type", "default")
    if kind in ("default", "llama3"):
        return {}
    if kind == "linear":
        return {"rope.scaling.type": "linear", "rope.scaling.factor": float(rope(config)["factor"])}
    raise Unsupported(
        f"rope type '{kind}' in config.json; the GGUF export knows default, linear, llama3"
    )


def frequency_factors(config: Any) -> dict[str, Any]:
    """Divisors of the rotary frequencies, `[head width / 2]`, for `llama3` scaling."""
    if rope(config).get("rope_type") != "llama3":
        return {}
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    stretched, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    width = head_width(config)
    plain = rope(config)["rope_theta"] ** -(torch.arange(0, width, 2).float() / width)
    return {"rope_freqs.weight": plain / stretched}
