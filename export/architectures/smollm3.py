"""SmolLM3: Llama in which every fourth layer has no rotary positions."""

from typing import Any

from distill.core.errors import Unsupported
from export.architectures import decoder, llama

NAME = "smollm3"
# llama.cpp has the step in its code; a file cannot name another.
STEP = 4

arrange = llama.arrange


def metadata(config: Any) -> dict[str, Any]:
    expected = [int((layer + 1) % STEP != 0) for layer in range(config.num_hidden_layers)]
    if list(config.no_rope_layers) != expected:
        raise Unsupported(
            f"no_rope_layers {list(config.no_rope_layers)} in config.json; "
            f"GGUF knows smollm3 with every {STEP}th layer without positions only"
        )
    return decoder.metadata(config, NAME)


def computed(config: Any) -> dict[str, Any]:
    return {}
