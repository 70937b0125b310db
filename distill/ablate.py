"""What each part of PRIDE is worth: every arm trained at equal budget, over several seeds.

In: a PRIDE job, its sets and privileged fields. Out: `OUT/ablation.json`, `ablation.md` and
`ablation.png`: held-out cross-entropy of {CE, + divergence, + MMD, + sources, all} with and
without privileged fields, and of all of it as the share of dialogues with fields grows; where a
judge is named, how often all of it wins against CE alone and against all of it without fields.
Refused: a recipe that is not PRIDE or lacks a part (BadInput), and what the commands of its steps
refuse. A step that is done is skipped.

Arms that are the same by their definition share a run: without fields nothing is told, so sources
change nothing. Where the teacher is the base, two are tuned, once for all seeds: one with fields,
and one, for the arms without, that never saw any.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from distill.ablate_table import Cell, Row, Runs, markdown, plotted, table_of
from distill.core.command import Outcome
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, write_json, write_jsonl, write_text
from distill.recipe import Pride
from distill.walk import Step, step, walk

if TYPE_CHECKING:
    from distill.learning.job import Job

ALL, CE = "all", "ce"
SHARES = (0.25, 0.5)
# Teachers that are tuned, by the share of dialogues whose fields they read.
TEACHERS: Mapping[str, float] = {"knowing": 1.0, "plain": 0.0}
ALONE: dict[str, float] = {"divergence_weight": 0.0, "mmd_weight": 0.0}
# By arm: factors of the loss that are set, and whether its sources stay.
ARMS: Mapping[str, tuple[Mapping[str, float], bool]] = {
    "CE": (ALONE, False),
    "+ divergence": ({"mmd_weight": 0.0}, False),
    "+ MMD": ({"divergence_weight": 0.0}, False),
    "+ sources": (ALONE, True),
    ALL: ({}, True),
}


def cells() -> Iterator[Cell]:
    """Every arm with fields and without, then the shares of dialogues with fields."""
    for arm in ARMS:
        for share in (1.0, 0.0):
            yield Cell(arm, share, run_name(arm, share))
    for share in SHARES:
        yield Cell(ALL, share, run_name(ALL, share))


def run_name(arm: str, share: float) -> str:
    """Arms that cannot differ have one name."""
    if arm == "CE" or (arm == "+ sources" and share == 0):
        return CE
    return f"{arm.removeprefix('+ ').lower()}-{share:.0%}".removesuffix("%")


WHOLE = run_name(ALL, 1.0)
RIVALS = (CE, run_name(ALL, 0.0))


@dataclass(frozen=True)
class Plan:
    """A checked ablation: the arms of a recipe, on which data, from what student."""

    job: "Job"
    recipe: Pride
    seeds: int
    judge: str | None

    @property
    def own_teacher(self) -> bool:
        assert self.recipe.teacher is not None
        return self.recipe.teacher.tuning is not None

    def teacher_folder(self, name: str) -> Path:
        return self.job.out / "teachers" / name

    def student_folder(self, run: str, seed: int) -> Path:
        return self.job.out / "students" / f"{run}-{seed}"

    def arm(self, cell: Cell, seed: int) -> Pride:
        """The recipe of one run."""
        factors, sources = ARMS[cell.arm]
        loss = self.recipe.loss.model_copy(update=dict(factors))
        teacher = self.recipe.teacher if loss.needs_teacher else None
        if teacher is not None and self.own_teacher:
            folder = self.teacher_folder("knowing" if cell.share else "plain")
            model = str((folder / "student").absolute())
            teacher = teacher.model_copy(update={"model": model, "tuning": None})
        return self.recipe.model_copy(
            update={
                "loss": loss,
                "teacher": teacher,
                "sources": self.recipe.sources if sources and cell.share else None,
                "known_share": cell.share if teacher or sources else 0.0,
                "seed": self.recipe.seed + seed,
            }
        )

    def text(self, cell: Cell, seed: int) -> str:
        text: str = yaml.safe_dump(self.arm(cell, seed).model_dump())
        return text

    def recipe_file(self, cell: Cell, seed: int) -> Path:
        """Named by its text too, so that a changed recipe is another step."""
        digest = digest_text(self.text(cell, seed))[:8]
        return self.job.out / "recipes" / f"{cell.run}-{seed}-{digest}.yaml"

    def runs(self, *, main: bool) -> Iterator[tuple[Cell, int]]:
        """One cell for each run, by seed: `main` are those that all of it is judged against."""
        first = {cell.run: cell for cell in reversed(list(cells()))}
        for seed in range(self.seeds):
            for cell in reversed(first.values()):
                if (cell.run in (WHOLE, *RIVALS)) == main:
                    yield cell, seed

    def steps(self) -> list[Step]:
        """What the question is first: whether all of it is worth its while; then which part."""
        teachers = list(self.teacher_steps()) if self.own_teacher else []
        seeds = range(self.seeds) if self.judge else ()
        judged = (each for seed in seeds for each in self.judged(seed))
        first, then = ([self.training(*run) for run in self.runs(main=m)] for m in (True, False))
        return [*teachers, *first, *judged, *then]

    def teacher_steps(self) -> Iterator[Step]:
        for name in TEACHERS:
            folder = self.teacher_folder(name)
            line = ["train", folder / "recipe.yaml", "--student", self.job.student]
            line += ["--data", folder / "sets", "--out", folder / "student", "--resume"]
            done = folder / "student" / "kindred.json"
            yield step(f"teacher {name}", line, done, after=())

    def training(self, cell: Cell, seed: int) -> Step:
        student = self.student_folder(cell.run, seed)
        line = ["train", self.recipe_file(cell, seed), "--student", self.job.student]
        line += ["--data", self.job.data]
        for option in ("privileged", "features"):
            path = getattr(self.job, option)
            line += [f"--{option}", path] if path is not None else []
        line += ["--out", student, "--resume"]
        return step(f"train {student.name}", line, student / "kindred.json", after=())

    def judged(self, seed: int) -> Iterator[Step]:
        """All of it and its rivals answer, and the judge compares it with each."""
        test, files = self.job.data / "test.jsonl", {}
        for run in (WHOLE, *RIVALS):
            student = self.student_folder(run, seed)
            files[run] = self.job.out / "answers" / f"{student.name}.jsonl"
            line = ["eval", "answer", student, "--name", student.name, "--dialogues", test]
            line += ["--out", files[run]]
            yield step(f"answer {student.name}", line, files[run], after=(f"train {student.name}",))
        for run in RIVALS:
            out = self.job.out / "judged" / f"{run}-{seed}"
            line = ["eval", "winrate", files[WHOLE], files[run], "--dialogues", test]
            line += ["--judge", self.judge, "--out", out]
            after = tuple(f"answer {each}-{seed}" for each in (WHOLE, run))
            yield step(f"judge {run}-{seed}", line, out / "winrate.json", after=after)

    def write(self) -> None:
        """Recipes, and the sets that teachers are tuned on."""
        for cell, seed in (*self.runs(main=True), *self.runs(main=False)):
            write_text(self.recipe_file(cell, seed), self.text(cell, seed))
        if self.own_teacher:
            self.write_teachers()

    def write_teachers(self) -> None:
        from distill.learning.pride import read_pride_sets
        from distill.learning.pride_teacher import knowing_rows, tuning_recipe

        for name, share in TEACHERS.items():
            recipe = self.recipe.model_copy(update={"known_share": share})
            sets = read_pride_sets(self.job, recipe)
            folder = self.teacher_folder(name)
            for part, rows in (("sft", sets.every), ("sft_valid", sets.dialogues_valid)):
                write_jsonl(folder / "sets" / f"{part}.jsonl", knowing_rows(rows, recipe))
            tuning = tuning_recipe(self.job.student, recipe).model_dump(exclude_none=True)
            write_text(folder / "recipe.yaml", yaml.safe_dump(tuning))


def plan_of(job: "Job", seeds: int, judge: str | None) -> Plan:
    """BadInput when the recipe has no part to take away."""
    recipe = job.recipe
    if not isinstance(recipe, Pride):
        raise BadInput(f"--ablate takes PRIDE apart, and this recipe is of {recipe.method}")
    whole = recipe.loss.divergence_weight and recipe.loss.mmd_weight and recipe.sources
    if not whole or recipe.teacher is None:
        raise BadInput(
            "--ablate needs a recipe with every part: a teacher, divergence_weight and mmd_weight "
            "above 0, and sources"
        )
    if job.states is not None or job.privileged is None:
        raise BadInput(
            "--ablate asks its teachers live, with fields: give --privileged, no --states"
        )
    return Plan(job, recipe, seeds, judge)


def ablation(job: "Job", seeds: int, judge: str | None, dry_run: bool) -> Outcome:
    """Train every arm that is not trained yet; the table and where it lies."""
    plan = plan_of(job, seeds, judge)
    steps = plan.steps()
    if dry_run:
        commands = [str(each) for each in steps]
        students = sum(each.name.startswith("train ") for each in steps)
        head = f"{len(steps)} steps for {students} students; nothing was run:"
        return Outcome({"dry_run": True, "commands": commands}, [head, *commands])
    job.out.mkdir(parents=True, exist_ok=True)
    plan.write()
    runs, text = Runs(), ""
    rows: list[Row] = []
    for done, result, seconds in walk(steps, job.out, "steps"):
        runs.add(done.name, result, seconds)
        # Written after each step, so that one that was stopped leaves what it found.
        rows = table_of(list(cells()), runs, seeds)
        write_json(job.out / "ablation.json", {"seeds": seeds, "judge": judge, "cells": rows})
        text = markdown(rows, seeds, judge)
        write_text(job.out / "ablation.md", text)
    plotted(rows, job.out / "ablation.png")
    data = {"out": str(job.out), "seeds": seeds, "judge": judge, "cells": rows}
    return Outcome(data, [text])
