"""onnxruntime-genai's model builder in a process of its own, with its mistakes mended.

    python -m export.onnx_graph CHECKPOINT GRAPH SCRATCH

In: a plain checkpoint. Out: a folder with its float32 graph, genai_config.json and tokenizer.
Refused: what the builder does not take; its exception goes to stderr, the reason in its last line.

The builder takes every matrix with as many rows as the vocabulary for the head, asks for positions
in layers of SmolLM3 that use none, scales all of Gemma 3's, does not know OLMo-2, and looks for
some settings under the names of older configs.
"""

import os
import sys
import threading
from typing import Any

# Its float16 computes in float16, and its quantizer knows nothing of what each weight matters.
PRECISION, PROVIDER = "fp32", "cpu"
# Caches of a window's size would move what they hold; ours keep each position in its place.
OPTIONS = ("hf_token=false", "windowed_kv_cache=false")


def build_graph(source: str, folder: str, scratch: str) -> None:
    """Write the whole folder."""
    from onnxruntime_genai.models import builder

    from export.onnx_olmo2 import Olmo2Model

    asked = (None, source, folder, PRECISION, PROVIDER, scratch)
    options = builder.parse_extra_options(*asked, list(OPTIONS))
    complete(options["hf_details"]["hf_config"])
    builder.Model.has_lm_head = is_head
    builder.SmolLM3Model.make_attention_qk_rope = rotary_where_asked
    builder.Gemma3Model.make_rotary_embedding_caches_from_scratch = tables_of_gemma3
    builder.OLMoModel = Olmo2Model
    builder.create_model(*asked, **options)


def end_with_parent() -> None:
    """End when whoever holds the other end of stdin does: an orphan would write into what the
    next export of the same student has begun.
    """

    def watch() -> None:
        # A reader of Python's would hold a lock that the interpreter's end wants.
        os.read(0, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def is_head(model: Any, module: Any) -> bool:
    """Whether a module of the checkpoint is its head, and not only of the head's shape."""
    return module is model.weights.get_output_embeddings()


def rotary_where_asked(model: Any, layer_id: int, **names: Any) -> Any:
    """Tables of positions for the layers that use them."""
    from onnxruntime_genai.models.builder import Model

    if not model.no_rope_layers[layer_id]:
        return "", ""
    return Model.make_attention_qk_rope(model, layer_id, **names)


def tables_of_gemma3(model: Any) -> Any:
    """Positions are scaled in the layers that see everything, not in those that see a window."""
    from onnxruntime_genai.models.builder import Model

    if model.rope_attrs["theta"] == model.rope_local_theta:
        model.rope_attrs["rescale_factors"] = 1
    return Model.make_rotary_embedding_caches_from_scratch(model)


def complete(config: Any) -> None:
    """Let a config say what it means under the names that the builder looks for."""
    rope = config.rope_parameters
    if "full_attention" in rope:
        config.rope_local_base_freq = rope["sliding_attention"]["rope_theta"]
        config.rope_parameters = rope = rope["full_attention"]
        config.rope_theta = rope["rope_theta"]
    rope["type"] = rope.get("rope_type", "default")
    if rope["type"] == "default":
        config.original_max_position_embeddings = config.max_position_embeddings
    if getattr(config, "layer_types", None) is None and getattr(config, "sliding_window", None):
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
    if config.model_type == "olmo2":
        config.architectures = ["OlmoForCausalLM"]


if __name__ == "__main__":
    end_with_parent()
    build_graph(*sys.argv[1:])
