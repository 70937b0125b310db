"""`method: pretrain`: from gathered talk to a base model folder.

In: a `Pretrain` recipe and a folder of `distill gather empathetic-dialogues`. Out: a Hugging
Face folder in bf16, shards of at most 15 MB, beside `log.jsonl` of the run. A recipe with `start`
goes on from the weights and the vocabulary of a base, with fresh optimizers.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM

from distill.core.jsonl import digest_text, sha256_of, write_json
from distill.core.manifest import tool_versions
from distill.core.progress import say
from distill.learning.curves import draw_pretraining
from distill.learning.pretrain import Schedule, Source, Stage, bits_per_byte, new_llama, pretrain
from distill.learning.pretraining_data import Encoder, Talk, documents, tokenizer_texts
from distill.learning.student import device_now, precision_on
from distill.learning.tokenizer import read_tokenizer, train_tokenizer
from distill.recipe import Pretrain

QUICK_VALIDATION = 9


def run_pretrain(recipe: Pretrain, recipe_text: str, data: Path, out: Path) -> dict[str, Any]:
    """Train, or continue training, the base; returns its final figures."""
    work = out.with_name(out.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    talk = Talk(data)
    start = Path(recipe.start) if recipe.start else None
    if start is None and not (work / "tokenizer.json").exists():
        say("learning the vocabulary")
        train_tokenizer(tokenizer_texts(talk), recipe.vocab_size).save_pretrained(work)
    tokenizer = read_tokenizer(start or work)
    encode = Encoder(tokenizer)
    sources = documents(talk, encode, recipe.curriculum_dialogues, recipe.seed)
    held_out = [encode.scored(talk.turns(d)) for d in talk.of("valid")]
    device = device_now()
    student: Any = new_student(recipe, tokenizer).to(device)  # type: ignore[arg-type]
    say(f"{sum(p.numel() for p in student.parameters()) / 1e6:.1f} M parameters")
    pretrain(
        student,
        [Stage(mixed(sources, stage.mix), stage.until_tokens) for stage in recipe.stages],
        work,
        batch_tokens=recipe.batch_tokens,
        matrix_rate=recipe.matrix_rate,
        vector_rate=recipe.vector_rate,
        schedule=Schedule(
            recipe.stages[-1].until_tokens, recipe.warmup_tokens, recipe.decay_fraction
        ),
        bf16=precision_on(device, recipe.precision) == "bf16",
        compiled=recipe.compiled,
        seed=recipe.seed,
        evaluate=lambda s: {"bits_per_byte": bits_per_byte(s, held_out[::QUICK_VALIDATION])},
        evaluate_every=recipe.evaluate_every,
        save_every=recipe.save_every,
    )
    figures = {"bits_per_byte": bits_per_byte(student, held_out), "held_out": len(held_out)}
    student.bfloat16().save_pretrained(out, max_shard_size="15MB")
    tokenizer.save_pretrained(out)
    provenance = {
        "base": recipe.start or "from scratch",
        "recipe_sha256": digest_text(recipe_text),
        "data_sha256": {f.name: sha256_of(f) for f in sorted(data.glob("*.jsonl"))},
        "stages": figures,
        "tools": tool_versions(),
    }
    write_json(out / "kindred.json", provenance)
    (out / "log.jsonl").write_text((work / "log.jsonl").read_text())
    draw_pretraining(read_log(out), out / "curve.png")
    return figures


def new_student(recipe: Pretrain, tokenizer: Any) -> LlamaForCausalLM:
    """Random weights of the recipe's shape, or those of the base that it starts from, in fp32."""
    if recipe.start:
        return LlamaForCausalLM.from_pretrained(recipe.start, dtype=torch.float32)
    return new_llama(
        recipe.vocab_size,
        recipe.model.hidden,
        recipe.model.layers,
        recipe.model.feed_forward,
        eos=tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        seed=recipe.seed,
    )


def mixed(sources: Mapping[str, list[list[int]]], mix: Mapping[Any, float]) -> list[Source]:
    return [Source(name, sources[name], weight) for name, weight in mix.items() if weight > 0]


def read_log(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
