"""Train a student by a recipe.

In: a recipe (bundled name or YAML file), a student to start from, a folder of sets. Out: a plain
Hugging Face folder with model card, recipe, loss curves and provenance. Refused: all that cannot
work, before any weight loads (BadInput, MissingInput, Unsupported), and a full disk (Unavailable).
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput, KindredError
from distill.recipe import Pretrain, Sweep, TwoStep, parse_recipe, recipe_text

if TYPE_CHECKING:
    from distill.learning.job import Job


def two_step(job: "Job") -> dict[str, Any]:
    from distill.learning.two_step import run_two_step

    assert isinstance(job.recipe, TwoStep)
    return run_two_step(job, job.recipe)


def pretrain(job: "Job") -> dict[str, Any]:
    from distill.learning.from_scratch import run_pretrain

    assert isinstance(job.recipe, Pretrain)
    return {"stages": run_pretrain(job.recipe, job.recipe_text, job.data, job.out)}


METHODS: dict[str, Callable[["Job"], dict[str, Any]]] = {
    "two-step": two_step,
    "pretrain": pretrain,
}


def train(
    recipe: str, data: Path, out: Path, *, student: str | None = None, resume: bool = False
) -> dict[str, Any]:
    """Train by a recipe's name or file; returns the provenance that the folder carries.

    `student` takes the place of the recipe's own. Raises `KindredError` with one line.
    """
    job = job_of(recipe, data, out, student, resume)
    return METHODS[job.recipe.method](job)


def job_of(recipe: str, data: Path, out: Path, student: str | None, resume: bool) -> "Job":
    """The job that the words of a command line name, with its recipe checked."""
    text = recipe_text(recipe)
    parsed = parse_recipe(text, recipe)
    if isinstance(parsed, Sweep):
        raise BadInput(f"recipe {recipe} is a sweep; run it with: distill sweep {recipe}")
    from distill.learning.job import Job

    if isinstance(parsed, Pretrain) and student:
        raise BadInput(f"recipe {recipe} starts from scratch; leave --student out")
    start = student or (parsed.student if isinstance(parsed, TwoStep) else "")
    return Job(parsed, text, start, data, out, resume)


@command
def run(
    recipe: Annotated[str, typer.Argument(help="The name of a bundled recipe, or a YAML file.")],
    data: Annotated[Path, typer.Option(help="A folder that `distill compose` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder to write the student to.")],
    student: Annotated[
        str | None,
        typer.Option(help="A folder or a Hub name to start from, instead of the recipe's."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue a run that was stopped; keep a finished one.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done; load no weights.")
    ] = False,
) -> Outcome:
    """Train a student by a recipe, and write it as a plain Hugging Face folder."""
    from distill.learning.job import is_main

    started = time.monotonic()
    try:
        job = job_of(recipe, data, out, student, resume)
        if dry_run:
            return planned(job)
        provenance = METHODS[job.recipe.method](job)
    except KindredError as error:
        if is_main():
            raise
        raise typer.Exit(error.exit_code) from error
    if not is_main():
        raise typer.Exit
    seconds = time.monotonic() - started
    return Outcome(
        {"student": str(out), "seconds": round(seconds, 1), **provenance},
        [f"{out}: trained in {seconds:.0f} s", *figure_lines(provenance["stages"])],
    )


def planned(job: "Job") -> Outcome:
    if not isinstance(job.recipe, TwoStep):
        raise BadInput(f"--dry-run knows no method {job.recipe.method}; run it without")
    from distill.learning.plan import plan_two_step

    return plan_two_step(job, job.recipe)


def figure_lines(stages: dict[str, Any]) -> list[str]:
    """One line a stage: its figures by name."""
    named = {k: v if isinstance(v, dict) else {k: v} for k, v in stages.items()}
    return [
        f"  {stage}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in f.items())
        for stage, f in named.items()
    ]
