"""Gemma 1 to 3: norms that add one to their weight, an embedding scaled by its width.

Shared by `gemma2` and `gemma3`; their attention scale is folded into the tensor that precedes it,
because llama.cpp knows one scale for each size and a file cannot name another.
"""

import math
from typing import Any

from export.architectures import decoder

NAME = "gemma"
ACTIVATION = "gelu_pytorch_tanh"


def metadata(config: Any) -> dict[str, Any]:
    return decoder.metadata(config, NAME, activation=ACTIVATION, stretching=("default",))


def arrange(name: str, tensor: Any, config: Any) -> Any:
    """Weights of norms as llama.cpp multiplies by them; the sum is taken in F32."""
    return tensor.float() + 1 if name.endswith("norm.weight") else tensor


def computed(config: Any) -> dict[str, Any]:
    return {}


def query_factor(config: Any, by_width: int) -> float:
    """What q must be multiplied by: the config's attention scale over llama.cpp's.

    Models of `by_width` layers are scaled by their width per head, all others by their head.
    """
    theirs: float = decoder.head_width(config)
    if config.num_hidden_layers == by_width:
        theirs = config.hidden_size // config.num_attention_heads
    return math.sqrt(theirs / config.query_pre_attn_scalar)


def windows(config: Any, every: int) -> list[bool] | None:
    """Which layers see the window only; None where it is llama.cpp's own rule."""
    found = [kind == "sliding_attention" for kind in config.layer_types]
    usual = [(layer + 1) % every != 0 for layer in range(config.num_hidden_layers)]
    return None if found == usual else found
