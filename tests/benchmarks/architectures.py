"""Every architecture in every format, on random and on briefly trained students.

    python -m tests.benchmarks.architectures [--trained] [--steps 200] [--only qwen3 ...]

Mean KL divergence and top-1 of each file beside the gate's limits: F16 and ONNX against torch,
Q8_0 and Q4_K_M against F16. The text is the gate's, with the replies that the F16 file writes.
A disagreement is a near tie when the reference prefers its own best token to the file's by less
than twice the noise of that position (the standard deviation of the difference of the logits).
Trained students learn the bundled starter dialogues for so many steps from a usual start; with
--trained they are the only ones.
Token ids of 2,000 varied strings are compared with the checkpoint's own, in both formats.
"""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from distill.core.errors import Unsupported
from distill.core.progress import say
from export.agreement import Writer, difference, rows_of_file, rows_of_torch
from export.calibration import starter
from export.checkpoint import Checkpoint, open_checkpoint
from export.making import Bench, Order
from export.onnx_build import complete_config, refuse_unknown, run_builder
from export.onnx_mixture import mixture_of
from export.onnx_session import OnnxSession
from export.onnx_weights import Mixture, narrow
from export.parity import BATCH, LIMITS, LONGEST_PASSAGE, REPLY_TOKENS, passages_of, texts_for
from export.probes import varied
from export.quantize import Plan
from export.recorded import Recorded
from export.session import Session
from export.types import type_named
from runtime.backends.onnx_graph import CONFIG
from tests.export.students import SIZES, VOCABULARY, lively_student
from tests.export.test_vocabulary import PRE_TOKENIZERS, byte_level, dressed, sentencepiece_like

CONTEXT = LONGEST_PASSAGE + REPLY_TOKENS
ROWS, LENGTH, RATE = 8, 128, 2e-3
TIED = {"tie_word_embeddings": True}
# Sizes that differ from the usual ones, and the kind of tokenizer that such models have.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama-bpe", {}),
    "mistral": ("mistral", {}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen2", {"head_dim": 128, **TIED}),
    "gemma": ("gemma", {"head_dim": 64, **TIED}),
    "gemma2": ("gemma", {"head_dim": 64, "query_pre_attn_scalar": 64, **TIED}),
    "gemma3_text": ("gemma", {"head_dim": 64, "num_hidden_layers": 6, **TIED}),
    "phi3": ("llama-2", {}),
    "smollm3": ("llama-bpe", {"num_hidden_layers": 4, **TIED}),
    "olmo2": ("gpt-2", {}),
    "granite": (
        "gpt-2",
        {
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.02,
            "residual_multiplier": 0.7,
            "logits_scaling": 0.25,
        },
    ),
}


@dataclass
class Found:
    """One file: figures, and what share of its disagreements are near ties."""

    kld: float
    top1: float
    ties: float
    passed: bool

    def cell(self) -> str:
        tied = "" if self.top1 == 1 else f" ({self.ties:.0%})"
        text = f"{self.kld:.1g} {self.top1:.1%}{tied}"
        return text if self.passed else f"[red]{text} x[/red]"


def tokenizer_of(name: str) -> Any:
    if name in PRE_TOKENIZERS:
        return dressed(byte_level(PRE_TOKENIZERS[name]))
    return dressed(sentencepiece_like(name), unk_token="<unk>")


def trained(folder: Path, kind: str, tokenizer: Any, sizes: dict[str, Any], steps: int) -> Path:
    """A student that learned the starter dialogues from a usual start."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    usual = SIZES | {"initializer_range": 0.02, "eos_token_id": tokenizer.eos_token_id} | sizes
    student: Any = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **usual))
    text = "".join(tokenizer.apply_chat_template(m, tokenize=False) for m in starter())
    stream = torch.tensor(tokenizer(text, add_special_tokens=False).input_ids)
    optimizer = torch.optim.AdamW(student.parameters(), RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps)
    loss = torch.tensor(0.0)
    for _ in range(steps):
        starts = torch.randint(len(stream) - LENGTH, (ROWS,))
        rows = torch.stack([stream[start : start + LENGTH] for start in starts])
        loss = student(rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    say(f"{kind}: {loss.item():.2f} nats after {steps} steps")
    student.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def compared(reference: Recorded, candidate: Any, bits: int) -> Found:
    divergence, same, ties, apart = 0.0, 0, 0, 0
    positions = 0
    for passage in reference.passages:
        tokens = passage.tokens[:-1]
        for ours_NV, theirs_NV in zip(reference(tokens), candidate(tokens), strict=True):
            divergence_N, same_N = difference(ours_NV, theirs_NV)
            divergence, same = divergence + float(divergence_N.sum()), same + int(same_N.sum())
            positions += len(same_N)
            for ours_V, theirs_V in zip(ours_NV[~same_N], theirs_NV[~same_N], strict=True):
                gap = ours_V.max() - ours_V[theirs_V.argmax()]
                ties += bool(gap < 2 * (theirs_V - ours_V).std())
                apart += 1
    kld, top1 = divergence / positions, same / positions
    passed = kld <= LIMITS[bits].mean_kld and top1 >= LIMITS[bits].top1
    return Found(kld, top1, ties / apart if apart else 1.0, passed)


def gguf_files(at: Bench, folder: Path) -> Iterator[tuple[str, Found]]:
    """F16 against torch, the others against F16; the passages are recorded on the way."""
    checkpoint = at.checkpoint
    with Session(at.plain(), context=CONTEXT, batch=BATCH) as session:
        passages = list(passages_of(checkpoint, Writer(session), at.order.texts.measured))
        torch_rows = rows_of_torch(checkpoint.reference(), BATCH)
        reference = Recorded(torch_rows, passages, folder / "torch")
        plain = Recorded(rows_of_file(session), passages, folder / "plain")
        yield "F16", compared(reference, rows_of_file(session), 16)
    for kind, plan in (("Q8_0", Plan("Q8_0")), ("Q4_K_M", at.plan(at.order))):
        path, _ = at.write(plan)
        with Session(path, context=CONTEXT, batch=BATCH) as session:
            yield kind, compared(plain, rows_of_file(session), type_named(kind).bits)
    yield from onnx_files(at, folder, reference)


def onnx_files(at: Bench, folder: Path, reference: Recorded) -> Iterator[tuple[str, Found]]:
    checkpoint = at.checkpoint
    graph = folder / "graph"
    graph.mkdir()
    try:
        refuse_unknown(checkpoint)
    except Unsupported:
        return
    run_builder(checkpoint, checkpoint.folder, graph, folder / "scratch")
    complete_config(checkpoint, graph / CONFIG)
    checkpoint.tokenizer.save_pretrained(graph)
    for bits in (16, 8, 4):
        mixture = mixture_of(checkpoint, at.importance()) if bits == 4 else Mixture()
        file = Path(shutil.copytree(graph, folder / f"onnx-{bits}"))
        narrow(file, bits, tied=checkpoint.config.tie_word_embeddings, mixture=mixture)
        with OnnxSession(file, context=CONTEXT, batch=BATCH) as session:
            yield f"ONNX {bits}", compared(reference, rows_of_file(session), bits)


def same_ids(checkpoint: Checkpoint, session: Session) -> int:
    """Of how many of 2,000 strings the token ids are the checkpoint's."""
    texts = varied(2000, seed=7)
    alike = session.tokens("a") == checkpoint.tokenizer("a", add_special_tokens=False).input_ids
    texts = texts if alike else [f"<|end|>{text}" for text in texts]
    expected = checkpoint.tokenizer(texts, add_special_tokens=False).input_ids
    return sum(session.tokens(t) == ids for t, ids in zip(texts, expected, strict=True))


def row_of(folder: Path, checkpoint: Checkpoint, text: Path | None) -> dict[str, str]:
    """The cells of one student."""
    at = Bench(checkpoint, folder, Order("Q4_K_M", "", texts_for(text), jobs=1))
    cells = {name: found.cell() for name, found in gguf_files(at, folder)}
    with Session(at.plain()) as session:
        cells["ids"] = str(same_ids(checkpoint, session))
    if (folder / "onnx-16").exists():
        with OnnxSession(folder / "onnx-16", context=64, batch=64) as session:
            cells["ids"] += f" {same_ids(checkpoint, session)}"
    return cells


def main(
    only_trained: Annotated[bool, typer.Option("--trained")] = False,
    steps: Annotated[int, typer.Option()] = 200,
    only: Annotated[list[str] | None, typer.Option()] = None,
    text: Annotated[Path | None, typer.Option()] = None,
) -> None:
    columns = ("F16", "Q8_0", "Q4_K_M", "ONNX 16", "ONNX 8", "ONNX 4", "ids")
    table = Table("student", *columns, title="mean KLD, top-1 (share of near ties), x: fails")
    for kind in only or KINDS:
        name, sizes = KINDS[kind]
        for weights in ("trained",) if only_trained else ("random", "trained"):
            began = time.perf_counter()
            with tempfile.TemporaryDirectory() as place:
                folder, tokenizer = Path(place), tokenizer_of(name)
                assert len(tokenizer) <= VOCABULARY
                if weights == "trained":
                    trained(folder / "student", kind, tokenizer, sizes, steps)
                else:
                    own = {"eos_token_id": tokenizer.eos_token_id, **sizes}
                    lively_student(folder / "student", kind, tokenizer=tokenizer, **own)
                cells = row_of(folder, open_checkpoint(folder / "student"), text)
            table.add_row(f"{kind}, {weights}", *(cells.get(c, "refused") for c in columns))
            say(f"{kind}, {weights}, {time.perf_counter() - began:.0f} s: {cells}")
    Console(width=200).print(table)


if __name__ == "__main__":
    typer.run(main)
