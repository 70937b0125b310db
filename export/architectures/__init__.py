"""One file per architecture: which metadata a GGUF reader wants, how tensors are laid out.

In: `model_type` of a config.json. Out: the module that knows it. Refused: any other (Unsupported).
A new architecture is one file, one line in `TABLE` and one test.
"""

import importlib
from typing import Any, Protocol, cast

from distill.core.errors import Unsupported

TABLE = {
    "llama": "export.architectures.llama",
    "mistral": "export.architectures.llama",
    "qwen2": "export.architectures.qwen2",
    "qwen3": "export.architectures.qwen3",
    "gemma": "export.architectures.gemma",
    "gemma2": "export.architectures.gemma2",
    "gemma3_text": "export.architectures.gemma3",
    "phi3": "export.architectures.phi3",
    "smollm3": "export.architectures.smollm3",
    "olmo2": "export.architectures.olmo2",
    "granite": "export.architectures.granite",
}


class Architecture(Protocol):
    """What a module of this folder offers."""

    NAME: str

    def metadata(self, config: Any) -> dict[str, Any]:
        """Keys and values of the file's header; Unsupported for what the format cannot say."""

    def arrange(self, name: str, tensor: Any, config: Any) -> Any:
        """The tensor of this Hugging Face name in the order that llama.cpp expects."""

    def computed(self, config: Any) -> dict[str, Any]:
        """Tensors that the checkpoint implies and does not hold, by GGUF name."""


def architecture_of(model_type: str | None, where: object) -> Architecture:
    if model_type not in TABLE:
        raise Unsupported(
            f"{where} is of architecture '{model_type}', which the GGUF export does not know; "
            f"it knows: {', '.join(TABLE)}"
        )
    return cast(Architecture, importlib.import_module(TABLE[model_type]))
