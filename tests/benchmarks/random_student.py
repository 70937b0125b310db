"""A random Llama as GGUF, to see ratios that a real student of its size would have.

    python -m tests.benchmarks.random_student OUT [--width N] [--layers N]

The tokenizer and the chat template are those of the starter; the weights are random, so the text
means nothing. Writes OUT/random-F16.gguf, -Q8_0.gguf, -Q4_K_M.gguf and -Q4_0.gguf.
"""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

from distill.core.progress import say
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from export.quantize import quantize

STARTER = Path(__file__).parents[2] / "distill" / "starter" / "base"
TOKENIZER = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
TYPES = ("Q8_0", "Q4_K_M", "Q4_0")


def main(out: Path, width: int = 768, layers: int = 12, context: int = 4096) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(STARTER)
    config.hidden_size, config.num_hidden_layers = width, layers
    config.intermediate_size = 4 * width
    config.num_attention_heads = config.num_key_value_heads = width // 64
    config.head_dim, config.max_position_embeddings = 64, context
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out) as folder:
        model.save_pretrained(folder)
        for name in TOKENIZER:
            shutil.copy(STARTER / name, folder)
        write_f16(open_checkpoint(Path(folder)), out / "random-F16.gguf")
    for name in TYPES:
        quantize(out / "random-F16.gguf", out / f"random-{name}.gguf", name)
    say(f"{sum(p.numel() for p in model.parameters()) / 1e6:.0f} M parameters in {out}")


if __name__ == "__main__":
    typer.run(main)
