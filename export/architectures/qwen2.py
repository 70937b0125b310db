"""Qwen2 and Qwen2.5: like Llama with biases on q, k and v, in the order of Hugging Face."""

from typing import Any

from export.architectures import decoder

NAME = "qwen2"


def metadata(config: Any) -> dict[str, Any]:
    return decoder.metadata(config, NAME)


def arrange(name: str, tensor: Any, config: Any) -> Any:
    return tensor


def computed(config: Any) -> dict[str, Any]:
    return {}
