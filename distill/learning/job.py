"""One training job: what to do, from what, with what, to where; and what was done of it before.

In: a recipe with its text, a student, a folder of sets, an output folder. Out: a `Job`, and
whether it is finished. Refused: an output or a working folder of another job, work that is there
without `--resume` (BadInput).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput
from distill.core.jsonl import read_json, write_json
from distill.recipe import Pretrain, Pride, TwoStep

PROVENANCE = "kindred.json"
IDENTITY = "run.json"
NAMES = {
    "recipe_sha256": "recipe",
    "base_sha256": "student",
    "data_sha256": "data",
    "privileged_sha256": "set of privileged fields",
    "features_sha256": "set of features",
    "teacher": "teacher",
}


@dataclass(frozen=True)
class Job:
    """`student` is a folder, a name of the Hub, or `starter` for the bundled base.

    PRIDE alone reads `privileged` (a gathered folder), `features` and `states` (a stored teacher).
    """

    recipe: TwoStep | Pride | Pretrain
    recipe_text: str
    student: str
    data: Path
    out: Path
    resume: bool = False
    privileged: Path | None = None
    features: Path | None = None
    states: Path | None = None

    @property
    def work(self) -> Path:
        """Checkpoints and logs, beside the output."""
        return self.out.with_name(self.out.name + ".work")


def is_main() -> bool:
    """Whether this process is the one that speaks and writes, under `accelerate launch` too."""
    return os.environ.get("RANK", "0") == "0"


def finished(job: Job, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The provenance of a finished job, None when there is work to do."""
    note = job.work / IDENTITY
    if not job.out.exists() or (job.out.is_dir() and not any(job.out.iterdir())):
        if note.exists():
            refuse_other(read_json(note), identity, job.work)
            if not job.resume:
                raise BadInput(
                    f"{job.work} holds an unfinished run; continue it with --resume, or delete it"
                )
        return None
    provenance = job.out / PROVENANCE
    if not provenance.is_file():
        raise BadInput(f"{job.out} exists and is no trained student; choose another --out")
    done: dict[str, Any] = read_json(provenance)
    refuse_other(done, identity, job.out)
    if not job.resume:
        raise BadInput(
            f"{job.out} is already trained by this recipe; keep it with --resume, "
            "or choose another --out"
        )
    return done


def claim_work(job: Job, identity: Mapping[str, Any]) -> None:
    """Note in the working folder whose it is, once nothing is left to refuse."""
    if is_main():
        write_json(job.work / IDENTITY, dict(identity))


def refuse_other(found: Mapping[str, Any], identity: Mapping[str, Any], where: Path) -> None:
    """BadInput that names the first difference between two jobs."""
    for key, name in NAMES.items():
        if found.get(key) != identity.get(key):
            raise BadInput(
                f"{where} was made from another {name}; choose another --out, or delete it"
            )
