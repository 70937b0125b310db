"""`method: two-step`: SFT, then DPO (arXiv 2507.08151).

In: a job with a two-step recipe. Out: the student's folder and its provenance. Refused: sets,
students and outputs that cannot be used, all before any weight loads.
"""

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate import PartialState

from distill.core.errors import MissingExtra
from distill.core.jsonl import digest_text, sha256_of
from distill.core.progress import say
from distill.learning.dpo import run_dpo
from distill.learning.job import Job, finished, is_main
from distill.learning.masks import examples_of, pairs_that_fit, refuse_endless
from distill.learning.quiet import quiet
from distill.learning.result import write_student
from distill.learning.sft import run_sft
from distill.learning.stage import Setting, StageResult, drop_checkpoints, finished_stage
from distill.learning.storage import plain_disk_errors
from distill.learning.student import (
    device_now,
    fetched_folder,
    generation_config,
    load_student,
    precision_on,
    read_tokenizer,
    refuse_qlora,
    stop_tokens,
)
from distill.learning.training_sets import Messages, TrainingSets, read_training_sets
from distill.recipe import TwoStep


def run_two_step(job: Job, recipe: TwoStep) -> dict[str, Any]:
    """Train, or continue training; returns the provenance."""
    refuse_missing()
    sets = read_training_sets(job.data, recipe)
    device = device_now()
    setting = Setting(recipe, device, precision_on(device, recipe.precision), job.work)
    refuse_qlora(recipe.adapter, device)
    with quiet(), plain_disk_errors(job.out):
        base = fetched_folder(job.student)
        tokenizer = read_tokenizer(base, recipe)
        identity = {
            "base": job.student,
            "base_sha256": sha256_of(base),
            "recipe_sha256": digest_text(job.recipe_text),
            "data_sha256": sets.digests,
        }
        done = finished(job, identity)
        if done is not None:
            if is_main():
                say(f"{job.out} is finished already; nothing was done")
            return done
        stages = run_stages(base, tokenizer, sets, setting)
        provenance: dict[str, Any] = {}
        if is_main():
            provenance = write_student(
                job, recipe, base, tokenizer, identity, stages, setting.precision
            )
            drop_checkpoints(job.work)
        PartialState().wait_for_everyone()
    return provenance


def refuse_missing() -> None:
    """What is first needed at the end is looked for at the start."""
    if find_spec("matplotlib") is None:
        raise MissingExtra(
            "the loss curves need matplotlib; install it with: pip install 'kindred-slm[train]'"
        )


def run_stages(
    base: Path, tokenizer: Any, sets: TrainingSets, setting: Setting
) -> dict[str, StageResult]:
    """Each stage once; what is finished is read from the working folder."""
    recipe, work = setting.recipe, setting.work
    stages: dict[str, StageResult] = {}
    if (done := finished_stage(work, "sft")) is None:
        examples = tokenized(tokenizer, sets.dialogues, recipe)
        stops = stop_tokens(generation_config(base, tokenizer))
        if examples:
            refuse_endless(tokenizer, examples, stops)
        valid = tokenized(tokenizer, sets.dialogues_valid, recipe)
        student = load_student(base, recipe.adapter, setting.precision, setting.device, None)
        done = run_sft(student, tokenizer, examples, valid, setting)
        del student
        gc.collect()
    stages["sft"] = done
    if recipe.dpo is None:
        return stages
    if (done := finished_stage(work, "dpo")) is None:
        pairs = list(pairs_that_fit(tokenizer, sets.pairs, recipe.max_length))
        valid_pairs = list(pairs_that_fit(tokenizer, sets.pairs_valid, recipe.max_length))
        say_left_out(len(sets.pairs) - len(pairs), "preferences", recipe)
        trained = work / "sft" / "final"
        student = load_student(base, recipe.adapter, setting.precision, setting.device, trained)
        done = run_dpo(student, tokenizer, pairs, valid_pairs, setting)
    stages["dpo"] = done
    return stages


def tokenized(
    tokenizer: Any, dialogues: list[Messages], recipe: TwoStep
) -> list[dict[str, list[int]]]:
    """Examples that fit; says how many dialogues do not even without their oldest turns."""
    loss_on = recipe.sft.loss_on
    examples = list(
        examples_of(tokenizer, dialogues, loss_on=loss_on, max_length=recipe.max_length)
    )
    say_left_out(len(dialogues) - len(examples), "dialogues", recipe)
    return examples


def say_left_out(count: int, what: str, recipe: TwoStep) -> None:
    if count > 0 and is_main():
        say(f"remark: {count} {what} do not fit into max_length {recipe.max_length}, left out")
