"""OLMo-2: norms after attention and feed-forward, q and k normed over their whole width."""

from typing import Any

from distill.core.errors import Unsupported
from export.architectures import decoder

NAME = "olmo2"


def metadata(config: Any) -> dict[str, Any]:
    if config.tie_word_embeddings:
        raise Unsupported("tie_word_embeddings in config.json; GGUF knows olmo2 with its own head")
    return decoder.metadata(config, NAME)


def arrange(name: str, tensor: Any, config: Any) -> Any:
    return tensor


def computed(config: Any) -> dict[str, Any]:
    return {}
