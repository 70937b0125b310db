"""Measure replies without a judge: overlap, variety, length, emotion, codes, likelihood, copies.

In: the answers of one candidate and their dialogues; optionally a gathered folder with references,
the student, its training sets, a fitted scorer, EPITOME. Out: one JSON file a candidate, which the
report finds as `measures/NAME.json` in the folder of a run and joins by `artifact_sha256`:

    {"candidate", "artifact_sha256", "answers", "answers_sha256", "dialogues", "dialogues_sha256",
     "count", "reference", "data_sha256", "seed",
     "measures": [{"name", "value", "interval": [low, high] or null, "interval_method", "unit",
                   "over", "means", "is_not"}, ...],
     "absent": {family: why it was not measured}}

`value` is null where there is nothing to measure; `is_not` completes the sentence "this is not".
Refused: answers without dialogue, an unknown reference, and what each measure refuses.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.jsonl import sha256_of, write_json
from eval.held_out import answered, read_answers, read_dialogues
from eval.measures import Measured, measure
from eval.measures.references import read_references
from eval.measures.seam import Figure, Material
from eval.outputs import writable_file


def shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def row(figure: Figure) -> tuple[str, ...]:
    interval = " to ".join(map(shown, figure.interval)) if figure.interval else ""
    return figure.name, shown(figure.value), interval, figure.unit, str(figure.over)


def table(candidate: str, found: Measured) -> Table:
    made = Table("measure", "value", "95 %", "unit", "dialogues", title=candidate)
    for figure in found.figures:
        made.add_row(*row(figure))
    return made


def remarks(found: Measured) -> list[str]:
    """What each number is not, and why others are not there."""
    said = [f"{one.name}: {one.means}; it is not {one.is_not}" for one in found.figures]
    return [*said, *(f"{name}: {why}" for name, why in found.absent.items())]


def data_of(material: Material, found: Measured, dialogues: Path) -> dict[str, Any]:
    file, data = material.answers, material.data
    return {
        "candidate": file.candidate,
        "artifact_sha256": file.artifact_sha256,
        "answers": str(file.path),
        "answers_sha256": sha256_of(file.path),
        "dialogues": str(dialogues),
        "dialogues_sha256": sha256_of(dialogues),
        "count": len(material.dialogues),
        "reference": material.reference,
        "data_sha256": {"responses.jsonl": sha256_of(data / "responses.jsonl")} if data else {},
        "seed": material.seed,
        "measures": [asdict(one) for one in found.figures],
        "absent": found.absent,
    }


@command
def run(
    answers: Annotated[Path, typer.Argument(help="Answers of one candidate.")],
    dialogues: Annotated[Path, typer.Option(help="The dialogues that they answer.")],
    out: Annotated[Path, typer.Option(help="The file of figures: measures/NAME.json of a run.")],
    data: Annotated[
        Path | None, typer.Option(help="Folder that gather wrote, with references and emotions.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Author or strategy of its responses that is the reference.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="Checkpoint or GGUF file that answered, for perplexity.")
    ] = None,
    training: Annotated[
        list[Path], typer.Option(help="A training set, to look for copies; again for more.")
    ] = [],  # noqa: B006
    coder: Annotated[
        Path | None, typer.Option(help="Scorer fitted with miti-learned, for the MITI profile.")
    ] = None,
    epitome: Annotated[Path | None, typer.Option(help="Folder of EPITOME's files.")] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
) -> Outcome:
    """Measure replies without a judge; says of each number what it is not."""
    if (data is None) != (reference is None):
        raise BadInput("--data and --reference belong together; give both, or leave both out")
    file = read_answers(answers)
    known = read_references(data, reference) if data and reference else {}
    material = Material(
        answers=file,
        dialogues=answered(file, read_dialogues(dialogues), dialogues),
        seed=seed,
        data=data,
        reference=reference,
        replies=known,
        student=student,
        training=tuple(training),
        coder=coder,
        epitome=epitome,
    )
    if known and not material.references:
        raise BadInput(f"none of the dialogues has a response by {reference} in {data}")
    writable_file(out)
    found = measure(material)
    told = data_of(material, found, dialogues)
    write_json(out, told)
    return Outcome(
        {**told, "out": str(out)}, [table(file.candidate, found), *remarks(found), f"wrote {out}"]
    )
