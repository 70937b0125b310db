"""The student as a plain Hugging Face folder, written whole or not at all.

In: what the last stage left, the base, the figures. Out: merged weights in the base's dtype,
tokenizer, model card, recipe, loss curves, provenance.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from distill.core.folder import replacing_folder
from distill.core.jsonl import write_json
from distill.core.manifest import tool_versions
from distill.learning.card import card_text
from distill.learning.curves import draw_curves
from distill.learning.job import PROVENANCE, Job
from distill.learning.stage import StageResult
from distill.learning.student import generation_config
from distill.recipe import Training


def write_student(
    job: Job,
    recipe: Training,
    base: Path,
    tokenizer: Any,
    identity: Mapping[str, Any],
    stages: Mapping[str, StageResult],
    precision: str,
) -> dict[str, Any]:
    """Merge and write everything beside the output, then rename; returns the provenance."""
    last = job.work / list(stages)[-1] / "final"
    student = merged(base, last, recipe)
    student.generation_config = generation_config(base, tokenizer)
    if recipe.repetition_penalty is not None:
        student.generation_config.repetition_penalty = recipe.repetition_penalty
    dtype = str(student.dtype).removeprefix("torch.")
    provenance = {
        **identity,
        "stages": {name: stage.figures for name, stage in stages.items()},
        "tools": tool_versions(),
    }
    with replacing_folder(job.out, ()) as folder:
        student.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        card = card_text(job.out.name, provenance, recipe, stages, precision, dtype)
        (folder / "README.md").write_text(card, "utf-8")
        (folder / "recipe.yaml").write_text(job.recipe_text, "utf-8")
        draw_curves(stages, folder / "curves.png")
        write_json(folder / PROVENANCE, provenance)
    return provenance


def merged(base: Path, last: Path, recipe: Training) -> Any:
    """Plain weights: the arithmetic of the merge in fp32, the result in the base's dtype."""
    config = AutoConfig.from_pretrained(base)
    dtype = config.dtype or torch.float32
    full = recipe.adapter.kind == "full"
    student: Any = AutoModelForCausalLM.from_pretrained(
        last if full else base, config=config, dtype=torch.float32
    )
    if not full:
        from peft import PeftModel

        student = PeftModel.from_pretrained(student, last).merge_and_unload()
    return student.to(dtype)
