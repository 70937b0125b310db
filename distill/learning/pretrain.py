"""Pretrain a small Llama from scratch on dialogues: Muon for matrices, AdamW for the rest.

In: token documents with sampling weights. Out: a plain Hugging Face folder, `log.jsonl`.
Refused: a checkpoint that belongs to another recipe (ValueError).

Shapes: B rows, T tokens, V vocabulary. Rows hold one document each and are padded on the right
to one of a few widths (each costs a compilation; without one there are many widths, for less
padding); causal attention never looks right, so no mask is needed.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from distill.learning.muon import Muon

WIDTHS = (48, 80, 112, 160, 256)
MANY_WIDTHS = tuple(range(16, WIDTHS[-1] + 1, 8))
IGNORED = -100


@dataclass(frozen=True)
class Source:
    """Documents of one corpus and how often they are drawn."""

    name: str
    documents: Sequence[Sequence[int]]
    weight: float


@dataclass(frozen=True)
class Stage:
    """Train on these sources until `until_tokens` tokens were seen in all."""

    sources: Sequence[Source]
    until_tokens: int


@dataclass(frozen=True)
class Schedule:
    """Linear warm-up, constant, then a linear decay to zero over the last fraction."""

    total_tokens: int
    warmup_tokens: int
    decay_fraction: float

    def factor(self, seen: int) -> float:
        left = max(0.0, (self.total_tokens - seen) / (self.total_tokens * self.decay_fraction))
        return min(1.0, (seen + 1) / self.warmup_tokens, left)


def draw(sources: Sequence[Source], rng: random.Random) -> Iterator[Sequence[int]]:
    """Endless documents: a source by weight, then its next document in a shuffled order."""
    orders: dict[str, list[int]] = {source.name: [] for source in sources}
    weights = [source.weight for source in sources]
    while True:
        source = rng.choices(sources, weights)[0]
        order = orders[source.name]
        if not order:
            order.extend(rng.sample(range(len(source.documents)), len(source.documents)))
        yield source.documents[order.pop()]


def batches(
    sources: Sequence[Source], batch_tokens: int, seed: int, widths: Sequence[int] = WIDTHS
) -> Iterator[Tensor]:
    """Endless `[B, T]` batches of about `batch_tokens`; padding is `IGNORED`."""
    rng = random.Random(seed)
    documents = draw(sources, rng)
    shelves: dict[int, list[Sequence[int]]] = {width: [] for width in widths}
    while True:
        window: list[tuple[int, list[Sequence[int]]]] = []
        while sum(len(b) * w for w, b in window) < 32 * batch_tokens:
            document = next(documents)[: widths[-1]]
            width = next(w for w in widths if len(document) <= w)
            shelves[width].append(document)
            if len(shelves[width]) == max(1, batch_tokens // width):
                window.append((width, shelves[width]))
                shelves[width] = []
        rng.shuffle(window)
        for width, rows in window:
            batch_BT = torch.full((len(rows), width), IGNORED, dtype=torch.long)
            for row, document in enumerate(rows):
                batch_BT[row, : len(document)] = torch.tensor(document)
            yield batch_BT


def token_loss(student: torch.nn.Module, batch_BT: Tensor, *, bf16: bool) -> Tensor:
    """Mean next-token cross-entropy in nats; fp32 softmax."""
    with torch.autocast(batch_BT.device.type, torch.bfloat16, enabled=bf16):
        logits_BTV = student(input_ids=batch_BT.clamp(min=0), use_cache=False).logits
    return F.cross_entropy(
        logits_BTV[:, :-1].float().flatten(0, 1), batch_BT[:, 1:].flatten(), ignore_index=IGNORED
    )


def optimizers_of(
    student: LlamaForCausalLM, matrix_rate: float, vector_rate: float, *, bf16: bool
) -> list[torch.optim.Optimizer]:
    """Muon on the matrices inside the blocks; AdamW on embeddings and norms."""
    matrices = [p for n, p in student.named_parameters() if p.ndim == 2 and "embed" not in n]
    chosen = {id(p) for p in matrices}
    others = [p for p in student.parameters() if id(p) not in chosen]
    return [
        Muon(
            matrices,
            lr=matrix_rate,
            weight_decay=0.05,
            dtype=torch.bfloat16 if bf16 else torch.float32,
        ),
        torch.optim.AdamW(others, lr=vector_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def pretrain(
    student: LlamaForCausalLM,
    stages: Sequence[Stage],
    folder: Path,
    *,
    batch_tokens: int,
    matrix_rate: float,
    vector_rate: float,
    schedule: Schedule,
    bf16: bool,
    compiled: bool,
    seed: int,
    evaluate: Callable[[LlamaForCausalLM], dict[str, float]],
    evaluate_every: int,
    save_every: int,
) -> None:
    """Train through the stages; continues from `folder/checkpoint.pt` when there is one."""
    device = next(student.parameters()).device
    optimizers = optimizers_of(student, matrix_rate, vector_rate, bf16=bf16)
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    step, seen, stage_index, stage_step = 0, 0, 0, 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True, map_location=device)
        student.load_state_dict(state["student"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seen, stage_index, stage_step = state["position"]
    widths = WIDTHS if compiled else MANY_WIDTHS
    loss_of = torch.compile(token_loss, dynamic=False) if compiled else token_loss
    torch._dynamo.config.recompile_limit = 4 * len(WIDTHS)
    started, seen_before = time.monotonic(), seen

    def note(record: dict[str, float]) -> None:
        with (folder / "log.jsonl").open("a") as log:
            log.write(json.dumps(record) + "\n")

    def save() -> None:
        temporary = checkpoint.with_suffix(".part")
        state = {
            "student": student.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
            "position": (step, seen, stage_index, stage_step),
        }
        torch.save(state, temporary)
        temporary.replace(checkpoint)

    while stage_index < len(stages):
        stage = stages[stage_index]
        stream = batches(stage.sources, batch_tokens, seed + stage_index, widths)
        for _ in range(stage_step):
            next(stream)
        while seen < stage.until_tokens:
            batch_BT = next(stream)
            factor = schedule.factor(seen)
            for optimizer, rate in zip(optimizers, rates, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            loss = loss_of(student, batch_BT.to(device), bf16=bf16)
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            student.zero_grad(set_to_none=True)
            step, stage_step = step + 1, stage_step + 1
            seen += int((batch_BT != IGNORED).sum())
            if step % 20 == 0:
                pace = (seen - seen_before) / (time.monotonic() - started)
                note({"step": step, "tokens": seen, "loss": loss.item(), "tokens_per_s": pace})
            if step % evaluate_every == 0:
                note({"step": step, "tokens": seen, **evaluate(student)})
            if step % save_every == 0:
                save()
        stage_index, stage_step = stage_index + 1, 0
        save()
    note({"step": step, "tokens": seen, **evaluate(student)})


def new_llama(
    vocab_size: int, hidden: int, layers: int, feed_forward: int, *, eos: int, pad: int, seed: int
) -> LlamaForCausalLM:
    """A fresh Llama with tied embeddings, heads of 64 and one key-value head for four."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        intermediate_size=feed_forward,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=max(1, hidden // 256),
        head_dim=64,
        tie_word_embeddings=True,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=eos,
        pad_token_id=pad,
    )
    student = LlamaForCausalLM(config)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if name.endswith(("o_proj.weight", "down_proj.weight")):
                weight.div_(math.sqrt(2 * layers))
    return student


@torch.no_grad()
def bits_per_byte(
    student: torch.nn.Module, documents: Sequence[tuple[Sequence[int], Sequence[int], int]]
) -> float:
    """Bits per UTF-8 byte over chosen tokens.

    Each document is (tokens, positions to score, bytes of the scored text).
    """
    bits, size_bytes = 0.0, 0
    device = next(student.parameters()).device
    for start in range(0, len(documents), 64):
        chunk = documents[start : start + 64]
        width = max(len(tokens) for tokens, _, _ in chunk)
        batch_BT = torch.zeros((len(chunk), width), dtype=torch.long, device=device)
        for row, (tokens, _, _) in enumerate(chunk):
            batch_BT[row, : len(tokens)] = torch.tensor(tokens, device=device)
        logits_BTV = student(input_ids=batch_BT, use_cache=False).logits.float()
        logs_BT = -F.cross_entropy(
            logits_BTV[:, :-1].transpose(1, 2), batch_BT[:, 1:], reduction="none"
        )
        for row, (_, positions, bytes_scored) in enumerate(chunk):
            bits -= logs_BT[row, torch.tensor([p - 1 for p in positions])].sum().item() / math.log(
                2
            )
            size_bytes += bytes_scored
    return bits / size_bytes
