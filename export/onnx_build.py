"""A student as an ONNX folder: the graph by onnxruntime-genai's model builder, weights by ours.

In: a checkpoint, bits, parts that keep 8 bits. Out: a folder with graph, weights, tokenizer,
template and genai_config.json. Refused: an architecture outside the table, a head width that the
attention kernel cannot run, positions that the builder stretches wrong, and whatever else it does
not take (Unsupported).
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from distill.core.errors import MissingExtra, Unsupported
from distill.core.jsonl import read_json, write_json
from export.architectures import decoder, phi3
from export.checkpoint import Checkpoint
from export.onnx_weights import Mixture, narrow
from runtime.backends.onnx_graph import CONFIG

# Each was compared with torch, whole and token by token.
KNOWN = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"),
    *("phi3", "smollm3", "olmo2", "granite"),
)
HEAD_MULTIPLE = 16
BUILDER = "export.onnx_graph"
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def build(checkpoint: Checkpoint, folder: Path, bits: int, mixture: Mixture | None = None) -> None:
    """Write the whole folder, weights of so many bits; among 4 the mixture says which keep 8."""
    merged, scratch = folder / "merged", folder / "builder"
    source = write_merged(checkpoint, merged) if checkpoint.adapter else checkpoint.folder
    run_builder(checkpoint, source, folder, scratch)
    for path in (merged, scratch):
        shutil.rmtree(path, ignore_errors=True)
    narrow(folder, bits, tied=checkpoint.config.tie_word_embeddings, mixture=mixture or Mixture())
    complete_config(checkpoint, folder / CONFIG)
    checkpoint.tokenizer.save_pretrained(folder)


def refuse_unknown(checkpoint: Checkpoint) -> None:
    config = checkpoint.config
    if config.model_type not in KNOWN:
        raise Unsupported(
            f"{checkpoint.folder} is of architecture '{config.model_type}', which the ONNX export "
            f"does not know; it knows: {', '.join(KNOWN)}; GGUF may take it: distill export gguf"
        )
    if decoder.rope(config).get("rope_type") == "yarn":
        raise Unsupported(
            f"{checkpoint.folder} stretches its positions by YaRN, which the builder computes "
            "otherwise than transformers; write a GGUF file: distill export gguf"
        )
    width = decoder.head_width(config)
    if width % HEAD_MULTIPLE:
        raise Unsupported(
            f"{checkpoint.folder} has attention heads of width {width}; onnxruntime runs multiples "
            f"of {HEAD_MULTIPLE} only; write a GGUF file: distill export gguf"
        )


def write_merged(checkpoint: Checkpoint, folder: Path) -> Path:
    """A LoRA folder on its base as one plain checkpoint, which is all that the builder reads."""
    from safetensors.torch import save_file

    folder.mkdir()
    tensors = {name: tensor.contiguous() for name, tensor in checkpoint.tensors()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    checkpoint.config.save_pretrained(folder)
    checkpoint.tokenizer.save_pretrained(folder)
    return folder


def run_builder(checkpoint: Checkpoint, source: Path, folder: Path, scratch: Path) -> None:
    """The builder in a process of its own: it prints a line a tensor, and keeps its memory.

    It holds the other end of `stdin`, and ends when this process is killed.
    """
    if importlib.util.find_spec("onnxruntime_genai") is None:
        raise MissingExtra(
            "onnx needs the extra 'onnx' (onnxruntime_genai not installed); "
            "install it with: pip install 'kindred-slm[onnx]'"
        )
    line = [sys.executable, "-W", "ignore", "-m", BUILDER, *map(str, (source, folder, scratch))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(line, **pipes, stderr=said, env=os.environ | OFFLINE) as builder,
    ):
        if builder.wait():
            said.seek(0)
            raise Unsupported(
                f"onnxruntime-genai cannot build {checkpoint.folder}: {reason_of(said.read())}; "
                "write a GGUF file: distill export gguf"
            )


def reason_of(stderr: bytes) -> str:
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines()]
    return next((line for line in reversed(lines) if line), "it gave no reason")


def complete_config(checkpoint: Checkpoint, path: Path) -> None:
    """What genai_config.json needs beside the graph: ends, the penalty that fits, the context."""
    config: dict[str, Any] = read_json(path)
    ends = checkpoint.end_tokens()
    config["model"]["eos_token_id"] = ends if len(ends) > 1 else ends[0]
    if penalty := checkpoint.setting("repetition_penalty"):
        config["search"]["repetition_penalty"] = float(penalty)
    if decoder.rope(checkpoint.config).get("rope_type") == "longrope":
        # Beyond, other factors hold for all positions, and the cache was written with these.
        longest = phi3.original(checkpoint.config)
        config["model"]["context_length"] = config["search"]["max_length"] = longest
    write_json(path, config)
