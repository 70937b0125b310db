"""Four bits where 256 does not divide the rows, against llama.cpp's silent fallback.

    python -m tests.benchmarks.odd_rows CHECKPOINT [--text FILE] [--width 576 --width 640 ...]

A trained Llama is widened without changing what it computes: the residual stream is turned by a
random orthonormal matrix into more dimensions, gains of norms go into the next matrices (the
invariance that SliceGPT uses, arXiv 2401.15024). The aims: at most 5.5 bits per weight, and a
mean KL divergence from F16 no worse than the fallback's.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export.agreement import Writer
from export.checkpoint import open_checkpoint
from export.making import Bench, Order
from export.parity import BATCH, passages_of, texts_for
from export.quantize import Plan, quantize, read_back
from export.recorded import Recorded
from export.session import Session
from tests.benchmarks.imatrix_quality import CONTEXT, figures_of

KIND = "Q4_K_M"
INTO = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
OUT_OF = ("o_proj", "down_proj")


def widened(source: Path, folder: Path, width: int) -> Path:
    """The same function with `width` dimensions between its layers; its head is its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    load: Any = AutoModelForCausalLM.from_pretrained
    student = load(source, dtype=torch.float32)
    config, old = student.config, student.state_dict()
    torch.manual_seed(0)
    turn_WD = torch.linalg.qr(torch.randn(width, config.hidden_size))[0]
    scale = (config.hidden_size / width) ** 0.5
    new = {"model.embed_tokens.weight": old["model.embed_tokens.weight"] @ turn_WD.T}
    head = old["lm_head.weight"] * old["model.norm.weight"]
    new["lm_head.weight"] = head @ turn_WD.T
    for name, weight in old.items():
        part, layer = name.split(".")[-2], ".".join(name.split(".")[:3])
        if part in INTO:
            norm = "input_layernorm" if "self_attn" in name else "post_attention_layernorm"
            new[name] = (weight * old[f"{layer}.{norm}.weight"]) @ turn_WD.T
        elif part in OUT_OF:
            new[name] = turn_WD @ weight
        elif weight.ndim == 1:
            new[name] = torch.full((width,), scale)
    config.tie_word_embeddings, config.dtype = False, "float32"
    config.rms_norm_eps *= config.hidden_size / width
    config.hidden_size = width
    build: Any = AutoModelForCausalLM.from_config
    wide = build(config)
    wide.load_state_dict(new)
    wide.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def main(
    checkpoint: Annotated[Path, typer.Argument()],
    text: Annotated[Path | None, typer.Option()] = None,
    width: Annotated[list[int] | None, typer.Option()] = None,
) -> None:
    table = Table("rows", "file", "bits", "mean KLD", "top-1", title=f"{checkpoint.name}, {KIND}")
    for size in width or (576, 640, 896):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            opened = open_checkpoint(widened(checkpoint, folder / "student", size))
            order = Order(KIND, "", texts_for(text), jobs=1)
            at = Bench(opened, folder, order)
            with Session(at.plain(), context=CONTEXT, batch=BATCH) as session:
                writer = Writer(session)
                passages = passages_of(opened, writer, order.texts.measured)
                reference = Recorded(writer, passages, folder / "rows")
            for label, plan in {"fallback": Plan(KIND, threads=1), "ours": at.plan(order)}.items():
                file = folder / "file.gguf"
                quantize(at.plain(), file, plan)
                found, figures = read_back(file, KIND, plan.tensors), figures_of(reference, file)
                bits, kld = f"{found.bits_per_weight:.2f}", f"{figures['mean_kld']:.5f}"
                table.add_row(str(size), label, bits, kld, f"{figures['top1']:.1%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
