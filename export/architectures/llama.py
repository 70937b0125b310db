"""Llama 2 and 3, SmolLM2: rotary pairs are neighbours in GGUF and halves in Hugging Face.

The rows of q and k are permuted for it.
"""

from typing import Any

from export.architectures import decoder

NAME = "llama"


def metadata(config: Any) -> dict[str, Any]:
    stretching = (*decoder.STRETCHING, "llama3")
    return decoder.metadata(config, NAME, stretching=stretching)


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
