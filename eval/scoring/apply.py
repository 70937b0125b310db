"""Score replies by a scorer that `distill eval scoring fit` wrote.

In: the scorer's folder, answers, and the dialogues that they answer. Out: one line an answer: the
chance of each rating and their mean. Refused: answers without dialogue, a scorer that needs codes
or sub-factors, which new replies do not have (BadInput).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.jsonl import write_jsonl
from eval.held_out import answered, read_answers, read_dialogues
from eval.outputs import writable_file
from eval.scoring.columns import Source
from eval.scoring.model import Known, RatingModel, known, load_model
from eval.scoring.rated import Row

ASKED_FOR = ("miti", "subfactors")


def rows_known(model: RatingModel, rows: Sequence[Row]) -> Known:
    """The columns of new replies; BadInput for features that somebody has to give."""
    if given := [one for one in model.design.families if one in ASKED_FOR]:
        raise BadInput(
            f"the scorer reads {given[0]}, which new replies do not have; fit one on text, "
            "embeddings or miti-learned"
        )
    return known(rows, model.design, Source(model.design.embedder))


@command
def run(
    scorer: Annotated[Path, typer.Argument(help="A folder that fit wrote.")],
    answers: Annotated[Path, typer.Argument(help="Answers to score.")],
    dialogues: Annotated[Path, typer.Option(help="The dialogues that they answer.")],
    out: Annotated[Path, typer.Option(help="The file of scores.")],
) -> Outcome:
    """Tell the chance of each rating for every answer."""
    model, card = load_model(scorer)
    file = read_answers(answers)
    rows = [
        Row(one.id, one.id, tuple(one.turns), file.answers[one.id].text, file.candidate, 0)
        for one in answered(file, read_dialogues(dialogues), dialogues)
    ]
    writable_file(out)
    chances = model.chances(rows_known(model, rows))
    mean = chances @ [1.0, 2.0, 3.0]
    lines = [
        {"dialogue_id": row.id, "candidate": row.author, "rating": float(rating)}
        | {"chances": [float(chance) for chance in three]}
        for row, rating, three in zip(rows, mean, chances, strict=True)
    ]
    write_jsonl(out, lines)
    average = float(mean.mean())
    data = {"out": str(out), "scored": len(rows), "mean_rating": average}
    note = card["agreement_note"]
    return Outcome(
        data | {"agreement_note": note},
        [f"{file.candidate}: mean rating {average:.2f} of {len(rows)} replies ({note})"],
    )
