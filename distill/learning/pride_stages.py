"""The stages of a PRIDE recipe: a teacher, the distillation, the student that is left.

In: a job whose words are checked, the base, the sets. Out: the student's folder and its
provenance. A stage that is finished is read from the working folder. Refused: what `pride_teacher`
and `masks` refuse, a student that has no place for sources.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from transformers import TrainingArguments

from distill.learning.job import Job
from distill.learning.masks import refuse_endless
from distill.learning.multi_source import MultiSource, attached, decoder_layers, layer_indices
from distill.learning.pride import PrideSets
from distill.learning.pride_leakage import sample_of
from distill.learning.pride_rows import Row, RowMaker, feature_width, labels_of
from distill.learning.pride_student import PrideStudent
from distill.learning.pride_teacher import open_teacher, refuse_unread, teacher_tokenizer
from distill.learning.pride_trainer import PrideTrainer, collate
from distill.learning.stage import (
    Setting,
    StageResult,
    arguments,
    finish_stage,
    finished_stage,
    inner_model,
    whole_batches,
)
from distill.learning.stages import Stages, refuse_too_long, trained
from distill.learning.student import (
    generation_config,
    load_student,
    stop_tokens,
)
from distill.learning.teacher import Teacher, refuse_unknown_head
from distill.recipe import Pride

NAME = "pride"


@dataclass(frozen=True)
class Prepared:
    """Rows for training and validation, and the tokens that end a reply."""

    rows: list[Row]
    rows_valid: list[Row]
    stops: list[int]


def train_pride(
    job: Job, recipe: Pride, base: Path, sets: PrideSets, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Train what is not trained yet, and write the student; returns the provenance."""

    def run(tokenizer: Any, prepared: Prepared, setting: Setting[Pride]) -> Stages:
        done = finished_stage(job.work, NAME)
        return {NAME: done or distilled(job, base, sets, tokenizer, prepared, setting)}

    return trained(
        job,
        recipe,
        base,
        identity,
        lambda tokenizer: prepare(job, recipe, base, sets, tokenizer),
        run,
    )


def prepare(job: Job, recipe: Pride, base: Path, sets: PrideSets, tokenizer: Any) -> Prepared:
    """Render everything; refuses sets that do not fit, and replies that would never end."""
    asked = None
    if recipe.teacher is not None and recipe.loss.needs_teacher:
        asked = teacher_tokenizer(tokenizer, recipe.teacher)
    maker = RowMaker(recipe, tokenizer, asked, job.features)
    rows, rows_valid = list(maker.rows(sets.dialogues)), list(maker.rows(sets.dialogues_valid))
    refuse_too_long(len(sets.dialogues), len(rows), "dialogues", recipe)
    stops = stop_tokens(generation_config(base, tokenizer))
    refuse_endless(tokenizer, [{"labels": labels_of(rows[:1])[0].tolist()}], stops)
    return Prepared(rows, rows_valid, sorted(stops))


def distilled(
    job: Job,
    base: Path,
    sets: PrideSets,
    tokenizer: Any,
    prepared: Prepared,
    setting: Setting[Pride],
) -> StageResult:
    """The one stage: the student learns from the reference, the teacher and what is told."""
    recipe = setting.recipe
    teacher = teacher_of(job, sets, tokenizer, prepared, setting)
    # Fresh weights are random, and are drawn before the trainer sets its seed.
    set_seed(recipe.seed)
    student = load_student(base, recipe, setting.precision, setting.device, None)
    refuse_unknown_head(inner_model(student), job.student)
    if recipe.gradient_checkpointing:
        student.activation_checkpointing_enable({"use_reentrant": False})
    width = None if teacher is None else teacher.head.weight_VD.shape[1]
    fusion = fusion_of(student, recipe, prepared.rows)
    pride = PrideStudent(student, recipe.loss, fusion, width)
    with ExitStack() as hooks:
        if fusion is not None:
            hooks.enter_context(attached(fusion, student))
        trainer = trainer_of(pride, teacher, prepared, setting)
        return finish_stage(NAME, trainer, setting.work)


def teacher_of(
    job: Job, sets: PrideSets, tokenizer: Any, prepared: Prepared, setting: Setting[Pride]
) -> Teacher | None:
    recipe = setting.recipe
    if recipe.teacher is None or not recipe.loss.needs_teacher:
        return None
    teacher = open_teacher(job, recipe, sets, setting.device, setting.precision, tokenizer)
    rows, leakage = prepared.rows, recipe.leakage
    gauged = rows if leakage.each else sample_of(rows, leakage.sample, recipe.seed)
    refuse_unread(teacher, rows, gauged)
    return teacher


def fusion_of(student: Any, recipe: Pride, rows: Sequence[Row]) -> MultiSource | None:
    """Attention for the sources that the rows have; None when the recipe or the data has none."""
    wanted = recipe.sources
    if wanted is None or not any(row.has_sources for row in rows):
        return None
    layers = layer_indices(wanted.layers, len(decoder_layers(student)))
    inner = inner_model(student)
    width = inner.config.get_text_config().hidden_size
    fusion = MultiSource(width, layers, wanted.heads, feature_width(rows))
    return fusion.to(inner.device)


def trainer_of(
    pride: PrideStudent, teacher: Teacher | None, prepared: Prepared, setting: Setting[Pride]
) -> PrideTrainer:
    recipe = setting.recipe
    valid = whole_batches(prepared.rows_valid, recipe.distill)
    options = arguments(NAME, recipe.distill, setting, len(valid))
    # These are TRL's own, or done already.
    for name in ("max_length", "activation_checkpointing"):
        del options[name]
    trainer = PrideTrainer(
        model=pride,
        args=TrainingArguments(**options, remove_unused_columns=False),
        data_collator=collate,
        train_dataset=prepared.rows,
        eval_dataset=valid or None,
    )
    trainer.set_up(teacher, recipe, prepared.stops)
    return trainer
