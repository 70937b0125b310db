"""The teacher of a PRIDE run: another model, the base tuned to know more, or a store.

In: a job, its base, its sets. Out: a `Teacher` and its tokenizer. Refused: another tokenizer than
the student's, a store that lacks a reply, a dialogue that the teacher cannot read whole (BadInput).
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import PartialState
from transformers import AutoTokenizer

from distill.core.errors import BadInput
from distill.core.jsonl import write_jsonl
from distill.learning.job import Job, is_main
from distill.learning.origin import fetched_folder
from distill.learning.pride import SELF, PrideSets
from distill.learning.pride_rows import Row
from distill.learning.privileged import Known, asking_digest, teacher_messages
from distill.learning.student import DTYPES, Device, read_config
from distill.learning.teacher import Teacher, live_teacher, refuse_other_tokenizer
from distill.learning.training_sets import SFT, Messages
from distill.learning.two_step import run_two_step
from distill.recipe import Pride, PrideTeacher, TwoStep

NAME, SETS = "teacher", "teacher-sets"


def teacher_tokenizer(base_tokenizer: Any, wanted: PrideTeacher) -> Any:
    """The tokenizer that renders the teacher's prompts; BadInput when it is another one."""
    if wanted.model == SELF:
        return base_tokenizer
    tokenizer = AutoTokenizer.from_pretrained(fetched_folder(wanted.model))
    refuse_other_tokenizer(base_tokenizer, tokenizer, wanted.model)
    if not tokenizer.chat_template:
        raise BadInput(
            f"the teacher {wanted.model} has no chat template, so it cannot be asked; take an "
            "instruct model"
        )
    return tokenizer


def open_teacher(
    job: Job, recipe: Pride, sets: PrideSets, device: Device, precision: str, tokenizer: Any
) -> Teacher:
    """Load the teacher, after tuning it when it is the base itself."""
    assert recipe.teacher is not None
    wanted = recipe.teacher
    where = wanted.device or local_device(device)
    if job.states is not None:
        return stored_teacher(job.states, wanted, tokenizer, where)
    source = wanted.model
    if source == SELF:
        source = str(tuned_self(job, recipe, sets))
    dtype = torch.float32 if where == "cpu" else DTYPES[precision]
    return live_teacher(source, dtype=dtype, device=where, bits=wanted.bits, name=wanted.model)


def local_device(device: Device) -> str:
    """Each process's own GPU."""
    return "cpu" if device == "cpu" else f"cuda:{PartialState().local_process_index}"


def stored_teacher(folder: Path, wanted: PrideTeacher, tokenizer: Any, device: str) -> Teacher:
    from distill.learning.teacher_cache_reader import StoredTeacher, open_store

    prompt = asking_digest(wanted.prompt)
    store = open_store(folder, "states", student_tokenizer=tokenizer, prompt_sha256=prompt)
    return StoredTeacher(store, device)


def tuned_self(job: Job, recipe: Pride, sets: PrideSets) -> Path:
    """Fine-tune the base with the fields in its prompt, once; the folder of that teacher."""
    assert recipe.teacher is not None and recipe.teacher.tuning is not None
    folder = job.work / SETS
    if is_main():
        for end, rows in (("", sets.every), ("_valid", sets.dialogues_valid)):
            write_jsonl(folder / f"{SFT}{end}.jsonl", knowing_rows(rows, recipe))
    PartialState().wait_for_everyone()
    tuning = tuning_recipe(job.student, recipe)
    text = yaml.safe_dump(tuning.model_dump(exclude_none=True), sort_keys=False)
    out = job.work / NAME
    run_two_step(Job(tuning, text, job.student, folder, out, resume=True), tuning)
    return out


def knowing_rows(
    rows: Sequence[tuple[Messages, Known]], recipe: Pride
) -> list[dict[str, Messages]]:
    """Dialogues as the teacher will be asked, some without fields, each with its reply."""
    assert recipe.teacher is not None
    found = []
    for number, (messages, known) in enumerate(rows):
        plain = random.Random(f"{recipe.seed}/plain/{number}").random() < recipe.teacher.plain_share
        asked = teacher_messages(messages, {} if plain else known.fields, recipe.teacher.prompt)
        found.append({"messages": [*asked, messages[-1]]})
    return found


def tuning_recipe(student: str, recipe: Pride) -> TwoStep:
    """SFT alone, as long as the model can read: the teacher's prompts are never cut."""
    assert recipe.teacher is not None and recipe.teacher.tuning is not None
    config = read_config(student).get_text_config()
    shared = {
        name: getattr(recipe, name)
        for name in (
            "chat_template",
            "adapter",
            "precision",
            "gradient_checkpointing",
            "evaluate_every",
            "save_every",
            "seed",
        )
    }
    return TwoStep(
        method="two-step",
        student=student,
        sft=recipe.teacher.tuning,
        max_length=getattr(config, "max_position_embeddings", recipe.max_length),
        **shared,
    )


def refuse_unread(teacher: Teacher, rows: Sequence[Row], gauged: Sequence[Row]) -> None:
    """BadInput when a row cannot be asked for: too long for the teacher, or not in its store.

    Of `gauged` rows the teacher is asked without the fields too.
    """
    for view in (*(row.informed for row in rows), *(row.uninformed for row in gauged)):
        if view is not None:
            teacher.refuse_unread(view)
