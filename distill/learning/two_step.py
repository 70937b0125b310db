"""`method: two-step`: SFT, then DPO (arXiv 2507.08151).

In: a job with a two-step recipe. Out: the student's folder and its provenance. Refused: sets,
students and outputs that cannot be used, before anything heavy is imported.
"""

from importlib.util import find_spec
from typing import Any

from distill.core.errors import MissingExtra, Unsupported
from distill.core.jsonl import digest_text, sha256_of
from distill.core.progress import say
from distill.learning.job import Job, finished, is_main
from distill.learning.origin import fetched_folder, name_of
from distill.learning.training_sets import read_training_sets
from distill.recipe import Training, TwoStep


def run_two_step(job: Job, recipe: TwoStep) -> dict[str, Any]:
    """Train, or continue training; returns the provenance."""
    refuse_missing(recipe)
    sets = read_training_sets(job.data, recipe)
    base = fetched_folder(job.student)
    identity = {
        "base": name_of(job.student, base),
        "base_sha256": sha256_of(base),
        "recipe_sha256": digest_text(job.recipe_text),
        "data_sha256": sets.digests,
    }
    done = finished(job, identity)
    if done is not None:
        if is_main():
            say(f"{job.out} is finished already; nothing was done")
        return done
    from distill.learning.stages import train_stages

    return train_stages(job, recipe, base, sets, identity)


def refuse_missing(recipe: Training) -> None:
    """What the recipe needs beyond the trainers, looked for before it is needed."""
    if find_spec("matplotlib") is None:
        raise MissingExtra(
            "the loss curves need matplotlib; install it with: pip install 'kindred-slm[train]'"
        )
    if recipe.adapter.kind == "qlora" and not (find_spec("bitsandbytes") and has_gpu()):
        raise Unsupported(
            "adapter kind qlora needs a CUDA GPU and bitsandbytes, which are not both here; "
            "say kind: lora in the recipe"
        )


def has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
