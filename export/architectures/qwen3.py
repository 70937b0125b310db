"""Qwen3: like Llama with normed q and k, in the order that Hugging Face has."""

from typing import Any

from export.architectures import decoder

NAME = "qwen3"


def metadata(config: Any) -> dict[str, Any]:
    return decoder.metadata(config, NAME)


def arrange(name: str, tensor: Any, config: Any) -> Any:
    return tensor


def computed(config: Any) -> dict[str, Any]:
    return {}
