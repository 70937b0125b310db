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

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput, KindredError
from distill.core.folder import refuse_standing_in
from distill.recipe import Pretrain, Pride, Sweep, Training, TwoStep, parse_recipe, recipe_text

if TYPE_CHECKING:
    from distill.learning.job import Job


def two_step(job: "Job") -> dict[str, Any]:
    from distill.learning.two_step import run_two_step

    assert isinstance(job.recipe, TwoStep)
    return run_two_step(job, job.recipe)


def pride(job: "Job") -> dict[str, Any]:
    from distill.learning.pride import run_pride

    assert isinstance(job.recipe, Pride)
    return run_pride(job, job.recipe)


def pretrain(job: "Job") -> dict[str, Any]:
    from distill.learning.from_scratch import run_pretrain

    assert isinstance(job.recipe, Pretrain)
    return {"stages": run_pretrain(job.recipe, job.recipe_text, job.data, job.out)}


METHODS: dict[str, Callable[["Job"], dict[str, Any]]] = {
    "two-step": two_step,
    "pride": pride,
    "pretrain": pretrain,
}


def train(
    recipe: str,
    data: Path,
    out: Path,
    *,
    student: str | None = None,
    resume: bool = False,
    **inputs: Path | None,
) -> dict[str, Any]:
    """Train by a recipe's name or file; returns the provenance that the folder carries.

    `student` takes the place of the recipe's own; `inputs` are PRIDE's `privileged`, `features`
    and `states`. Raises `KindredError` with one line.
    """
    job = job_of(recipe, data, out, student, resume, **inputs)
    return METHODS[job.recipe.method](job)


def job_of(
    recipe: str, data: Path, out: Path, student: str | None, resume: bool, **inputs: Path | None
) -> "Job":
    """The job that the words of a command line name, with its recipe checked."""
    text = recipe_text(recipe)
    parsed = parse_recipe(text, recipe)
    if isinstance(parsed, Sweep):
        raise BadInput(f"recipe {recipe} is a sweep; run it with: distill sweep {recipe}")
    from distill.learning.job import Job

    if isinstance(parsed, Pretrain) and student:
        raise BadInput(f"recipe {recipe} starts from scratch; leave --student out")
    given = sorted(name for name, path in inputs.items() if path is not None)
    if given and not isinstance(parsed, Pride):
        raise BadInput(f"--{given[0]} goes with method pride, and {recipe} is {parsed.method}")
    refuse_standing_in(out)
    start = student or (parsed.student if isinstance(parsed, Training) else "")
    return Job(parsed, text, start, data, out, resume, **inputs)


def named_recipe(recipe: str, of_method: str | None) -> str:
    """The recipe of `distill train RECIPE`, or of `distill train METHOD RECIPE`."""
    if of_method is None:
        return recipe
    if recipe not in METHODS:
        raise BadInput(f"{recipe} is no method; known are {', '.join(METHODS)}")
    method = parse_recipe(recipe_text(of_method), of_method).method
    if method != recipe:
        raise BadInput(f"recipe {of_method} is of method {method}; say: distill train {of_method}")
    return of_method


@command
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="The name of a bundled recipe, or a YAML file.",
            autocompletion=offered("distill.recipe:bundled"),
        ),
    ],
    data: Annotated[Path, typer.Option(help="A folder that `distill compose` wrote.")],
    out: Annotated[Path, typer.Option(help="The folder to write the student to.")],
    of_method: Annotated[
        str | None,
        typer.Argument(
            metavar="[RECIPE]",
            help="The recipe, when the word before is its method.",
            autocompletion=offered("distill.recipe:bundled"),
        ),
    ] = None,
    student: Annotated[
        str | None,
        typer.Option(help="A folder or a Hub name to start from, instead of the recipe's."),
    ] = None,
    privileged: Annotated[
        Path | None,
        typer.Option(help="PRIDE: the gathered folder with the privileged fields."),
    ] = None,
    features: Annotated[
        Path | None,
        typer.Option(help="PRIDE: a folder of ID.safetensors or ID.npz, one array [T, F] each."),
    ] = None,
    states: Annotated[
        Path | None, typer.Option(help="PRIDE: a teacher that `distill teach states` stored.")
    ] = None,
    ablate: Annotated[
        bool, typer.Option("--ablate", help="PRIDE: train every arm of the ablation instead.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds of each arm of the ablation.")] = 3,
    judge: Annotated[
        str | None, typer.Option(help="Judge each arm of the ablation against CE alone.")
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
    inputs = {"privileged": privileged, "features": features, "states": states}
    try:
        job = job_of(named_recipe(recipe, of_method), data, out, student, resume, **inputs)
        if ablate:
            from distill.ablate import ablation

            return ablation(job, seeds, judge, dry_run)
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
    if isinstance(job.recipe, Pretrain):
        raise BadInput(f"--dry-run knows no method {job.recipe.method}; run it without")
    from distill.learning.plan import plan_pride, plan_two_step

    if isinstance(job.recipe, Pride):
        return plan_pride(job, job.recipe)
    return plan_two_step(job, job.recipe)


def figure_lines(stages: dict[str, Any]) -> list[str]:
    """One line a stage: its figures by name."""
    named = {k: v if isinstance(v, dict) else {k: v} for k, v in stages.items()}
    return [
        f"  {stage}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in f.items())
        for stage, f in named.items()
    ]
