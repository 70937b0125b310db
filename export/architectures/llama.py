"""Llama: rotary pairs are neighbours in GGUF and halves in Hugging Face: q and k are permuted."""

from typing import Any

from export.architectures import decoder

NAME = "llama"


def metadata(config: Any) -> dict[str, Any]:
    return decoder.metadata(config, NAME)


def arrange(name: str, tensor: Any, config: Any) -> Any:
    """Rows of q and k: within a head, row `i` and row `i + half` become neighbours."""
    heads = {
        "q_proj": config.num_attention_heads,
        "k_proj": config.num_key_value_heads,
    }.get(name.split(".")[-2])
    if heads is None:
        return tensor
    halves = tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, *tensor.shape[1:])
    return halves.swapaxes(1, 2).reshape(tensor.shape)


def computed(config: Any) -> dict[str, Any]:
    return decoder.frequency_factors(config)
