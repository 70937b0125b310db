"""What each part of PRIDE is worth: every arm trained at equal budget, over several seeds.

In: a PRIDE job, its sets and privileged fields. Out: `OUT/ablation.json`, `ablation.md` and
`ablation.png`: held-out cross-entropy of {CE, + divergence, + MMD, + sources, all} with and
without privileged fields, and of all of it as the share of dialogues with fields grows; where a
judge is named, win rates against CE alone. Refused: a recipe that is not PRIDE or lacks a part
(BadInput), and what the commands of its steps refuse. A step that is done is skipped.

Arms that are the same by their definition share a run: without fields nothing is told, so sources
change nothing. The teachers are tuned once for each share, with its fields and no others.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from distill.ablate_table import Cell, Runs, markdown, plotted, table_of
from distill.core.command import Outcome
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, write_json, write_jsonl, write_text
from distill.recipe import Pride
from distill.walk import Step, step, walk

if TYPE_CHECKING:
    from distill.learning.job import Job

SHARES = (0.0, 0.25, 0.5, 1.0)
ALONE: dict[str, float] = {"divergence_weight": 0.0, "mmd_weight": 0.0}
# By arm: factors of the loss that are set, and whether its sources stay.
ARMS: Mapping[str, tuple[Mapping[str, float], bool]] = {
    "CE": (ALONE, False),
    "+ divergence": ({"mmd_weight": 0.0}, False),
    "+ MMD": ({"divergence_weight": 0.0}, False),
    "+ sources": (ALONE, True),
    "all": ({}, True),
}


def cells() -> Iterator[Cell]:
    """Every arm with fields and without, then the shares of dialogues with fields."""
    for arm in ARMS:
        for share in (1.0, 0.0):
            yield Cell(arm, share, run_name(arm, share))
    for share in SHARES[1:-1]:
        yield Cell("all", share, run_name("all", share))


def run_name(arm: str, share: float) -> str:
    """Arms that cannot differ have one name."""
    if arm == "CE" or (arm == "+ sources" and share == 0):
        return "ce"
    return f"{arm.removeprefix('+ ').lower()}-{share:.0%}".removesuffix("%")


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

    def teacher_folder(self, share: float) -> Path:
        return self.job.out / "teachers" / f"{share:.0%}".removesuffix("%")

    def arm(self, cell: Cell, seed: int) -> Pride:
        """The recipe of one run."""
        factors, sources = ARMS[cell.arm]
        loss = self.recipe.loss.model_copy(update=dict(factors))
        teacher = self.recipe.teacher if loss.needs_teacher else None
        if teacher is not None and self.own_teacher:
            model = str((self.teacher_folder(cell.share) / "student").absolute())
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

    def runs(self) -> Iterator[tuple[Cell, int]]:
        """One cell for each run, by seed: a first seed of all arms comes before a second."""
        first = {cell.run: cell for cell in reversed(list(cells()))}
        for seed in range(self.seeds):
            yield from ((cell, seed) for cell in reversed(first.values()))

    def steps(self) -> list[Step]:
        teachers = list(self.teacher_steps()) if self.own_teacher else []
        return [*teachers, *(each for run in self.runs() for each in self.run_steps(*run))]

    def teacher_steps(self) -> Iterator[Step]:
        for share in SHARES:
            folder = self.teacher_folder(share)
            line = ["train", folder / "recipe.yaml", "--student", self.job.student]
            line += ["--data", folder / "sets", "--out", folder / "student", "--resume"]
            done = folder / "student" / "kindred.json"
            yield step(f"teacher {share:.0%}", line, done, after=())

    def run_steps(self, cell: Cell, seed: int) -> Iterator[Step]:
        """Train; answer and judge where asked."""
        name = f"{cell.run}-{seed}"
        student = self.job.out / "students" / name
        line = ["train", self.recipe_file(cell, seed), "--student", self.job.student]
        line += ["--data", self.job.data]
        for option in ("privileged", "features"):
            path = getattr(self.job, option)
            line += [f"--{option}", path] if path is not None else []
        line += ["--out", student, "--resume"]
        yield step(f"train {name}", line, student / "kindred.json", after=())
        if self.judge:
            yield from self.judged(cell, seed, student)

    def judged(self, cell: Cell, seed: int, student: Path) -> Iterator[Step]:
        name, test = f"{cell.run}-{seed}", self.job.data / "test.jsonl"
        answers = self.job.out / "answers"
        line = ["eval", "answer", student, "--name", name, "--dialogues", test]
        file = answers / f"{name}.jsonl"
        trained = (f"train {name}",)
        yield step(f"answer {name}", [*line, "--out", file], file, after=trained)
        if cell.run != "ce":
            alone = f"ce-{seed}"
            line = ["eval", "winrate", file, answers / f"{alone}.jsonl", "--dialogues", test]
            line += ["--judge", self.judge, "--out", self.job.out / "judged" / name]
            done = self.job.out / "judged" / name / "winrate.json"
            yield step(f"judge {name}", line, done, after=(f"answer {name}", f"answer {alone}"))

    def write(self) -> None:
        """Recipes, and the sets that teachers are tuned on."""
        for cell, seed in self.runs():
            write_text(self.recipe_file(cell, seed), self.text(cell, seed))
        if self.own_teacher:
            self.write_teachers()

    def write_teachers(self) -> None:
        from distill.learning.pride import read_pride_sets
        from distill.learning.pride_teacher import knowing_rows, tuning_recipe

        for share in SHARES:
            recipe = self.recipe.model_copy(update={"known_share": share})
            sets = read_pride_sets(self.job, recipe)
            folder = self.teacher_folder(share)
            for name, rows in (("sft", sets.dialogues), ("sft_valid", sets.dialogues_valid)):
                write_jsonl(folder / "sets" / f"{name}.jsonl", knowing_rows(rows, recipe))
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
        head = f"{len(steps)} steps for {len(list(plan.runs()))} students; nothing was run:"
        return Outcome({"dry_run": True, "commands": commands}, [head, *commands])
    job.out.mkdir(parents=True, exist_ok=True)
    plan.write()
    runs = Runs()
    for done, result, seconds in walk(steps, job.out, "steps"):
        runs.add(done.name, result, seconds)
    rows = table_of(list(cells()), runs, seeds)
    data: dict[str, Any] = {"seeds": seeds, "judge": judge, "cells": rows}
    write_json(job.out / "ablation.json", data)
    text = markdown(rows, seeds, judge)
    write_text(job.out / "ablation.md", text)
    plotted(rows, job.out / "ablation.png")
    return Outcome({"out": str(job.out), **data}, [text])
