"""`method: pride`: distillation from a teacher that knows more (after arXiv 2606.23124).

In: a job with a PRIDE recipe, composed sets, the gathered folder with the privileged fields. Out:
the student's folder and its provenance. Refused: sets, fields, students, teachers and outputs that
cannot be used, before anything heavy is imported.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, Unsupported
from distill.core.jsonl import digest_text, sha256_of
from distill.core.progress import say
from distill.learning.job import Job, finished, is_main
from distill.learning.origin import fetched_folder, local_folder, name_of
from distill.learning.privileged import Knowledge, Known, asking_digest
from distill.learning.training_sets import SFT, Messages, Taught, chosen, read_two
from distill.learning.two_step import refuse_missing
from distill.recipe import Pride

SELF = "self"


@dataclass(frozen=True)
class PrideSets:
    """Dialogues with what is known of them; `digests` are of the files as they lie on disk.

    `dialogues` are those that the student learns from; its own teacher may read `every` one.
    """

    every: Sequence[tuple[Messages, Known]]
    dialogues: Sequence[tuple[Messages, Known]]
    dialogues_valid: Sequence[tuple[Messages, Known]]
    digests: Mapping[str, str]

    @property
    def known(self) -> int:
        """Dialogues of which a field is used."""
        return sum(bool(known.fields) for _, known in self.dialogues)


def run_pride(job: Job, recipe: Pride) -> dict[str, Any]:
    """Train, or continue training; returns the provenance."""
    refuse_missing(recipe)
    refuse_sharded(job, recipe)
    sets = read_pride_sets(job, recipe)
    base = fetched_folder(job.student)
    identity = identity_of(job, recipe, base, sets)
    done = finished(job, identity)
    if done is not None:
        if is_main():
            say(f"{job.out} is finished already; nothing was done")
        return done
    from distill.learning.pride_stages import train_pride

    return train_pride(job, recipe, base, sets, identity)


def refuse_sharded(job: Job, recipe: Pride) -> None:
    """Unsupported under FSDP: what needs whole weights outside a step of training."""
    if os.environ.get("ACCELERATE_USE_FSDP", "false").lower() != "true":
        return
    whole = {
        "on_policy samples from it": recipe.on_policy is not None,
        "leakage.sample asks it": recipe.leakage.sample > 0,
        f"the checkpoint in {job.work} holds it": any(job.work.glob("pride/checkpoint-*")),
    }
    found = [reason for reason, true in whole.items() if true]
    if found:
        raise Unsupported(
            f"PRIDE needs the whole student where FSDP has shards of it ({'; '.join(found)}); "
            "launch it without FSDP, or leave on_policy out, set leakage.sample to 0 and begin anew"
        )


def read_pride_sets(job: Job, recipe: Pride) -> PrideSets:
    """Read and join the sets and the fields; BadInput when they do not belong together."""
    taught, taught_valid = read_two(job.data, SFT, Taught)
    knowledge = knowledge_for(job, recipe)

    def joined(rows: Sequence[Taught]) -> list[tuple[Messages, Known]]:
        dialogues = [row.dialogue() for row in rows]
        return [(each, knowledge.of(each, recipe.known_share)) for each in dialogues]

    every = joined(taught)
    dialogues = chosen(every, recipe.distill, recipe.seed)
    names = [
        f"{SFT}{end}.jsonl" for end in ("", "_valid") if (job.data / f"{SFT}{end}.jsonl").exists()
    ]
    sets = PrideSets(
        every,
        dialogues,
        joined(taught_valid),
        {name: sha256_of(job.data / name) for name in names},
    )
    if uses_fields(recipe) and not sets.known:
        raise BadInput(
            f"none of the {len(dialogues)} dialogues of {job.data} has privileged fields in "
            f"{job.privileged}; give the gathered folder that the sets were composed from"
        )
    return sets


def uses_fields(recipe: Pride) -> bool:
    return recipe.known_share > 0 and bool(recipe.sources or recipe.loss.needs_teacher)


def knowledge_for(job: Job, recipe: Pride) -> Knowledge:
    if not uses_fields(recipe):
        return Knowledge.none()
    if job.privileged is None:
        raise BadInput(
            "this recipe trains with privileged fields; say where they are: --privileged FOLDER, "
            "the folder that distill gather wrote (or known_share: 0 in the recipe)"
        )
    return Knowledge.read(job.privileged)


def identity_of(job: Job, recipe: Pride, base: Path, sets: PrideSets) -> dict[str, Any]:
    """What a run is made from; a run of another one is refused."""
    identity: dict[str, Any] = {
        "base": name_of(job.student, base),
        "base_sha256": sha256_of(base),
        "recipe_sha256": digest_text(job.recipe_text),
        "data_sha256": dict(sets.digests),
    }
    if uses_fields(recipe) and job.privileged is not None:
        identity["privileged_sha256"] = dict(knowledge_for(job, recipe).digests)
    if job.features is not None:
        identity["features_sha256"] = sha256_of(job.features)
    if recipe.teacher is not None and recipe.loss.needs_teacher:
        identity["teacher"] = teacher_identity(job, recipe)
    return identity


def teacher_identity(job: Job, recipe: Pride) -> dict[str, str]:
    """Its name, and digests of its weights or its store and of the words that ask it."""
    assert recipe.teacher is not None
    model = recipe.teacher.model
    found = {"name": model, "prompt_sha256": asking_digest(recipe.teacher.prompt)}
    if job.states is not None:
        return {**found, "states_sha256": sha256_of(job.states / "teacher.json")}
    if model != SELF and (folder := local_folder(model)) is not None:
        found["sha256"] = sha256_of(folder)
    return found
