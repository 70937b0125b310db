"""The paper's table: strategies by steps, each student judged against its base (arXiv 2507.08151).

In: a sweep recipe and a folder with gathered, taught and improved responses. Out: `runs/NAME/`
with sets, students, answers, verdicts, and `sweep.json`; and the table of win rates. A step that
is done is skipped, so a killed sweep continues. Refused: a recipe that is no sweep, or whose
training recipe is not two-step (BadInput), and what the commands of its steps refuse.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.table import Table

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, write_text
from distill.recipe import Sweep, Template, TwoStep, bundled, parse_recipe, recipe_text
from distill.walk import Step, step, walk

BASE = "answer base"
TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Plan:
    """A checked sweep: what is trained by which recipes, from what base, on which data."""

    sweep: Sweep
    recipes: dict[str, str]
    student: str
    template: Template | None
    data: Path
    out: Path

    def recipe_file(self, kind: str) -> Path:
        """Named by its text too, so that a changed recipe is another step."""
        return self.out / "recipes" / f"{kind}-{digest_text(self.recipes[kind])[:8]}.yaml"

    def steps(self, base: str) -> list[Step]:
        """All sets first: a strategy that is missing in the data is found before any training."""
        composed = [self.compose(name) for name in self.sweep.sets]
        cells = [(name, kind) for name in self.sweep.sets for kind in self.sweep.steps]
        return [
            *composed,
            self.answer(BASE, base, "base", after=(composed[0].name,)),
            *(step for cell in cells for step in self.cell(*cell)),
        ]

    def compose(self, name: str) -> Step:
        wanted, folder = self.sweep.sets[name], self.out / "sets" / name
        line = ["compose", self.data, "--rule", wanted.rule, "--seed", self.sweep.seed]
        if wanted.strategy:
            line += ["--strategy", wanted.strategy]
        return step(f"compose {name}", [*line, "--out", folder], folder / "test.jsonl", after=())

    @property
    def test(self) -> Path:
        """The test split, which every set has alike."""
        return self.out / "sets" / next(iter(self.sweep.sets)) / "test.jsonl"

    def answer(self, name: str, folder: object, called: str, after: tuple[str, ...]) -> Step:
        file = self.out / "answers" / f"{called}.jsonl"
        line = ["eval", "answer", folder, "--name", called, "--dialogues", self.test]
        return step(name, [*line, "--out", file], file, after=after)

    def cell(self, name: str, kind: str) -> Iterator[Step]:
        """Train, answer, judge."""
        called = f"{name}-{kind}"
        student, judged = self.out / "students" / called, self.out / "judged" / called
        trained, answered = f"train {called}", f"answer {called}"
        line = ["train", self.recipe_file(kind), "--student", self.student]
        line += ["--data", self.out / "sets" / name, "--out", student, "--resume"]
        yield step(trained, line, student / "kindred.json", after=(f"compose {name}",))
        yield self.answer(answered, student, called, after=(trained,))
        answers = [self.out / "answers" / f"{one}.jsonl" for one in (called, "base")]
        yield step(
            judging(called),
            ["eval", "winrate", *answers, "--dialogues", self.test, *self.judge(), "--out", judged],
            judged / "winrate.json",
            after=(answered, BASE),
        )

    def judge(self) -> list[str]:
        judge = self.sweep.judge
        options = {"--judge": judge.name, "--model": judge.model, "--base-url": judge.base_url}
        words = [word for name, value in options.items() if value for word in (name, value)]
        return [*words, "--seed", str(self.sweep.seed)]


def judging(called: str) -> str:
    return f"winrate {called}"


def plan_of(recipe: str, data: Path, out: Path, student: str | None = None) -> Plan:
    """The sweep that a recipe's name or file describes."""
    sweep = parse_recipe(recipe_text(recipe), recipe)
    if not isinstance(sweep, Sweep):
        raise BadInput(f"recipe {recipe} is no sweep; train it with: distill train {recipe}")
    training = parse_recipe(recipe_text(sweep.recipe), sweep.recipe)
    if not isinstance(training, TwoStep):
        raise BadInput(f"recipe {recipe} trains by {sweep.recipe}, which is not of method two-step")
    if "sft+dpo" in sweep.steps and training.dpo is None:
        raise BadInput(f"recipe {recipe} asks for sft+dpo, and {sweep.recipe} has no dpo")
    recipes: dict[str, str] = {kind: training_text(training, kind) for kind in sweep.steps}
    start = student or sweep.student or training.student
    return Plan(sweep, recipes, start, training.chat_template, data, out)


def training_text(recipe: TwoStep, kind: str) -> str:
    """The training recipe with both steps, or with SFT alone."""
    wanted = recipe if kind == "sft+dpo" else recipe.model_copy(update={"dpo": None})
    text: str = yaml.safe_dump(wanted.model_dump(exclude_none=True), sort_keys=False)
    return text


def base_folder(plan: Plan) -> Path:
    """The base as it is judged: fetched when it is on the Hub, with the recipe's template."""
    from distill.learning.origin import fetched_folder

    fetched = fetched_folder(plan.student)
    return with_template(fetched, plan.template, plan.out / "base") if plan.template else fetched


def with_template(source: Path, template: Template, folder: Path) -> Path:
    """Links to a checkpoint's files beside a chat template, so that the base can be asked too."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        link = folder / file.name
        if file.is_file() and file.name != TEMPLATE_FILE and not link.exists():
            link.symlink_to(file.resolve())
    write_text(folder / TEMPLATE_FILE, template.text)
    return folder


def rate(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    if result["win_rate"] is None:
        return "nothing decided"
    low, high = result["interval"]
    return f"{result['win_rate']:.1%} ({low:.1%} to {high:.1%})"


def table_of(sweep: Sweep, results: dict[str, dict[str, Any]], judge: str) -> Table:
    table = Table("", title=f"Wins against the base, by {judge}", title_justify="left")
    for kind in sweep.steps:
        table.add_column(kind.upper().replace("+", " + "), justify="right")
    for name in sweep.sets:
        cells = (rate(results.get(judging(f"{name}-{kind}"))) for kind in sweep.steps)
        table.add_row(name, *cells)
    return table


def sweeps() -> list[str]:
    """The bundled recipes that are sweeps."""
    return [name for name in bundled() if "method: sweep" in recipe_text(name)]


@command
def run(
    recipe: Annotated[
        str,
        typer.Argument(
            help="The name of a bundled sweep, or a YAML file.",
            autocompletion=offered("distill.sweep:sweeps"),
        ),
    ],
    data: Annotated[Path, typer.Option(help="A folder with improved responses.")],
    out: Annotated[Path, typer.Option(help="Where everything of this sweep lives.")],
    student: Annotated[
        str | None, typer.Option(help="A folder or a Hub name, instead of the recipe's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands; run nothing.")
    ] = False,
) -> Outcome:
    """Compose, train, answer and judge every cell of a table; resumes where it was stopped."""
    plan = plan_of(recipe, data, out, student)
    if dry_run:
        return planned(plan)
    out.mkdir(parents=True, exist_ok=True)
    for kind, text in plan.recipes.items():
        write_text(plan.recipe_file(kind), text)
    results: dict[str, dict[str, Any]] = {}
    seconds: dict[str, float] = {}
    for done, result, took in walk(plan.steps(str(base_folder(plan))), out, "sweep"):
        results[done.name], seconds[done.name] = result, took
    judged = {name: found for name, found in results.items() if "win_rate" in found}
    judge = next(iter(judged.values()))["judge"]
    cells = {name.removeprefix(judging("")): found for name, found in judged.items()}
    return Outcome(
        {"out": str(out), "seconds": seconds, "cells": cells},
        [table_of(plan.sweep, judged, judge), f"all steps and results: {out}/sweep.json"],
    )


def planned(plan: Plan) -> Outcome:
    steps = plan.steps(plan.student)
    cells = len(plan.sweep.sets) * len(plan.sweep.steps)
    head = f"{len(steps)} steps for {cells} students; nothing was run:"
    commands = [str(step) for step in steps]
    data = {"dry_run": True, "students": cells, "commands": commands}
    return Outcome(data, [head, *(f"  {line}" for line in commands)])
