"""What a recipe would do, without loading weights.

In: a job. Out: devices, counts, steps and an estimate of memory, as data and as a table. Refused:
what the training itself would refuse of recipe, student and data.

The estimate: on a CPU the libraries, then weights + gradients (fp32) + AdamW's two moments (fp32)
+ activations. Activations of a layer are 34 bytes a token and unit of width in 16 bits (Korthikanti
et al. 2022, arXiv 2205.05198, without the attention matrix), twice that in fp32; with gradient
checkpointing 2 bytes a layer and one layer's worth.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table

from distill.core.command import Outcome
from distill.core.errors import MissingInput
from distill.core.progress import say
from distill.learning.job import Job
from distill.learning.origin import local_folder
from distill.learning.pride import read_pride_sets
from distill.learning.quiet import quiet
from distill.learning.student import (
    Device,
    Sizes,
    device_now,
    frozen_dtype,
    precision_on,
    read_config,
    read_tokenizer,
    sizes_of,
)
from distill.learning.training_sets import chosen, read_training_sets
from distill.learning.two_step import refuse_missing
from distill.recipe import Pride, Step, Training, TwoStep

QLORA_BYTES = 0.55
LIBRARY_BYTES = 600_000_000
LOGIT_TILE_BYTES = 4096 * 32768 * 4


def plan_two_step(job: Job, recipe: TwoStep) -> Outcome:
    """Check the job and say what it would do."""
    refuse_missing(recipe)
    sets = read_training_sets(job.data, recipe)
    stages = {"sft": describe(recipe.sft, len(sets.dialogues), len(sets.dialogues_valid))}
    if recipe.dpo:
        stages["dpo"] = describe(recipe.dpo, len(sets.pairs), len(sets.pairs_valid))
    return plan_of(job, recipe, {}, stages, rows_at_once(recipe))


def plan_pride(job: Job, recipe: Pride) -> Outcome:
    """The same for PRIDE: with the dialogues of which something privileged is used."""
    refuse_missing(recipe)
    sets = read_pride_sets(job, recipe)
    valid = len(sets.dialogues_valid)
    stages = {"pride": describe(recipe.distill, len(sets.dialogues), valid)}
    teacher = recipe.teacher if recipe.loss.needs_teacher else None
    if teacher is not None and teacher.tuning is not None and job.states is None:
        tuned_on = len(chosen(sets.every, teacher.tuning, recipe.seed))
        stages = {"teacher": describe(teacher.tuning, tuned_on, valid), **stages}
    name = teacher and (str(job.states) if job.states else teacher.model)
    own = {"teacher": name, "known": sets.known}
    return plan_of(job, recipe, own, stages, recipe.distill.batch_size)


def plan_of(
    job: Job, recipe: Training, own: Mapping[str, Any], stages: Mapping[str, Any], rows: int
) -> Outcome:
    """What every method says, with its `own` beside the student; `rows` are those at once."""
    device = device_now()
    precision = precision_on(device, recipe.precision)
    with quiet():
        sizes = sizes_or_remark(job, recipe)
    data = {
        "student": job.student,
        **own,
        "adapter": recipe.adapter.kind,
        "device": device,
        "precision": precision,
        "parameters": sizes and sizes.parameters,
        "trainable": sizes and sizes.trainable,
        "memory_bytes": sizes and memory_bytes(sizes, recipe, rows, device, precision),
        "stages": stages,
        "out": str(job.out),
    }
    return Outcome(data, [table(data)])


def sizes_or_remark(job: Job, recipe: Training) -> Sizes | None:
    """Sizes of the student; a name of the Hub that cannot be reached costs a remark."""
    folder = local_folder(job.student)
    if folder is not None:
        read_tokenizer(folder, recipe)
    try:
        return sizes_of(read_config(job.student), recipe.adapter)
    except MissingInput as error:
        if folder is not None:
            raise
        say(f"remark: {error}")
        return None


def describe(step: Step, rows: int, rows_valid: int) -> dict[str, Any]:
    size = step.batch_size * step.accumulation
    return {
        "rows": rows,
        "rows_valid": rows_valid,
        "step_size": size,
        "steps": math.ceil(math.ceil(rows / size) * step.epochs),
        "epochs": step.epochs,
        "learning_rate": step.learning_rate,
    }


def rows_at_once(recipe: TwoStep) -> int:
    return max(recipe.sft.batch_size, 2 * recipe.dpo.batch_size if recipe.dpo else 0)


def memory_bytes(sizes: Sizes, recipe: Training, rows: int, device: Device, precision: str) -> int:
    """An estimate for one device, at the longest rows that the recipe allows, of the student."""
    weight: float = frozen_dtype(recipe.adapter, precision, device).itemsize
    if recipe.adapter.kind == "qlora":
        weight = QLORA_BYTES
    adapter = 0 if recipe.adapter.kind == "full" else 4 * sizes.trainable
    scale = 2 if precision == "fp32" else 1
    token_layer = 34 * scale * sizes.hidden
    kept = 2 * scale * sizes.hidden * sizes.layers + token_layer
    per_token = kept if recipe.gradient_checkpointing else token_layer * sizes.layers
    activations = rows * recipe.max_length * per_token
    tile = min(LOGIT_TILE_BYTES, rows * recipe.max_length * sizes.vocabulary * 4)
    held = weight * sizes.parameters + adapter + 12 * sizes.trainable
    libraries = LIBRARY_BYTES if device == "cpu" else 0
    return round(libraries + held + activations + tile)


def table(data: Mapping[str, Any]) -> Table:
    lines = Table(title=f"plan for {Path(data['out'])}", show_header=False)
    count = data["parameters"]
    lines.add_row("student", data["student"])
    if "teacher" in data:
        lines.add_row("teacher", data["teacher"] or "none")
        lines.add_row("dialogues with privileged fields", f"{data['known']:,}")
    lines.add_row("weights trained", data["adapter"])
    lines.add_row(
        "parameters",
        "unknown" if count is None else f"{count:,}, of which trained {data['trainable']:,}",
    )
    lines.add_row("device", f"{data['device']}, {data['precision']}")
    memory = data["memory_bytes"]
    lines.add_row(
        "memory, estimate at full length",
        "unknown" if memory is None else f"{memory / 1e9:.1f} GB",
    )
    for name, stage in data["stages"].items():
        lines.add_row(
            name,
            f"{stage['rows']:,} rows ({stage['rows_valid']:,} for validation), {stage['steps']:,} "
            f"steps of {stage['step_size']}, epochs {stage['epochs']:g}, "
            f"learning rate {stage['learning_rate']:g}",
        )
    return lines
