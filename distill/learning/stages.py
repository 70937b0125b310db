"""The stages of a two-step recipe, one after the other, and the student that they leave.

In: a job whose words are checked, the base, the sets. Out: the student's folder and its
provenance. A stage that is finished is read from the working folder.
"""

import gc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelerate import PartialState
from accelerate.utils import set_seed

from distill.core.errors import BadInput
from distill.core.progress import say
from distill.learning.dpo import run_dpo
from distill.learning.job import Job, claim_work, is_main
from distill.learning.masks import Example, examples_of, pairs_that_fit, refuse_endless
from distill.learning.quiet import quiet
from distill.learning.result import write_student
from distill.learning.sft import run_sft
from distill.learning.stage import Setting, StageResult, drop_checkpoints, finished_stage
from distill.learning.storage import plain_disk_errors
from distill.learning.student import (
    device_now,
    generation_config,
    load_student,
    precision_on,
    read_tokenizer,
    stop_tokens,
)
from distill.learning.training_sets import Messages, Pair, TrainingSets
from distill.recipe import Training, TwoStep

Stages = dict[str, StageResult]
Method = TypeVar("Method", bound=Training)
Ready = TypeVar("Ready")


def train_stages(
    job: Job, recipe: TwoStep, base: Path, sets: TrainingSets, identity: Mapping[str, Any]
) -> dict[str, Any]:
    """Train what is not trained yet, and write the student; returns the provenance."""
    return trained(
        job,
        recipe,
        base,
        identity,
        lambda tokenizer: prepare(base, tokenizer, sets, recipe),
        lambda tokenizer, prepared, setting: run_stages(base, tokenizer, prepared, setting),
    )


def trained(
    job: Job,
    recipe: Method,
    base: Path,
    identity: Mapping[str, Any],
    ready: Callable[[Any], Ready],
    run: Callable[[Any, Ready, Setting[Method]], Stages],
) -> dict[str, Any]:
    """What every method does around its stages: `ready` refuses, `run` trains what is not trained.

    Both are given the student's tokenizer.
    """
    device = device_now()
    setting = Setting(recipe, device, precision_on(device, recipe.precision), job.work)
    provenance: dict[str, Any] = {}
    with quiet(), plain_disk_errors(job.out):
        tokenizer = read_tokenizer(base, recipe)
        prepared = ready(tokenizer)
        # Every process has looked for an unfinished run before one of them begins it.
        processes = PartialState(cpu=device == "cpu")
        processes.wait_for_everyone()
        claim_work(job, identity)
        stages = run(tokenizer, prepared, setting)
        if is_main():
            provenance = write_student(
                job, recipe, base, tokenizer, identity, stages, setting.precision
            )
            drop_checkpoints(job.work, stages)
        processes.wait_for_everyone()
    return provenance


@dataclass(frozen=True)
class Prepared:
    """The sets as the trainers take them."""

    examples: list[Example]
    examples_valid: list[Example]
    pairs: list[Pair]
    pairs_valid: list[Pair]


def prepare(base: Path, tokenizer: Any, sets: TrainingSets, recipe: TwoStep) -> Prepared:
    """Render everything; refuses sets that do not fit, and replies that would never end."""
    length, loss_on = recipe.max_length, recipe.sft.loss_on

    def examples(dialogues: list[Messages]) -> list[Example]:
        return list(examples_of(tokenizer, dialogues, loss_on=loss_on, max_length=length))

    prepared = Prepared(
        examples(sets.dialogues),
        examples(sets.dialogues_valid),
        list(pairs_that_fit(tokenizer, sets.pairs, length)),
        list(pairs_that_fit(tokenizer, sets.pairs_valid, length)),
    )
    refuse_too_long(len(sets.dialogues), len(prepared.examples), "dialogues", recipe)
    if recipe.dpo:
        refuse_too_long(len(sets.pairs), len(prepared.pairs), "preferences", recipe)
    stops = stop_tokens(generation_config(base, tokenizer))
    refuse_endless(tokenizer, prepared.examples, stops)
    return prepared


def refuse_too_long(found: int, kept: int, what: str, recipe: Training) -> None:
    """BadInput when nothing is left; a remark when something was left out."""
    if kept == 0:
        raise BadInput(
            f"none of the {what} fits into max_length {recipe.max_length}; raise it in the recipe"
        )
    if kept < found and is_main():
        say(f"remark: {found - kept} {what} do not fit into max_length {recipe.max_length}")


def run_stages(base: Path, tokenizer: Any, prepared: Prepared, setting: Setting[TwoStep]) -> Stages:
    """Each stage once; what is finished is read from the working folder."""
    recipe, work = setting.recipe, setting.work
    words = (recipe, setting.precision, setting.device)
    # A fresh adapter is random, and is drawn before the trainer sets its seed.
    set_seed(recipe.seed)
    stages: Stages = {}
    if (done := finished_stage(work, "sft")) is None:
        student = load_student(base, *words, None)
        rows = (prepared.examples, prepared.examples_valid)
        done = run_sft(student, tokenizer, *rows, setting)
        del student
        gc.collect()
    stages["sft"] = done
    if recipe.dpo is None:
        return stages
    if (done := finished_stage(work, "dpo")) is None:
        student = load_student(base, *words, work / "sft" / "final")
        done = run_dpo(student, tokenizer, prepared.pairs, prepared.pairs_valid, setting)
    stages["dpo"] = done
    return stages
