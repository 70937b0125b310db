"""Show how good a fitted scorer is and which features matter to it.

In: a folder that `distill eval scoring fit` wrote. Out: its figures as a table, and
`features.png`: what accuracy is lost when a feature is shuffled, on held-out dialogues.
Refused: a folder without a card (BadInput, MissingInput).
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command
from eval.outputs import writable_file
from eval.scoring.fit import table_of
from eval.scoring.model import load_model

SHOWN = 25


def plot(importance: dict[str, float], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(importance)[::-1]
    figure, axes = pyplot.subplots(figsize=(8, 1.2 + 0.28 * len(names)), layout="constrained")
    axes.barh(names, [100 * importance[name] for name in names], color="#35618f")
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("accuracy lost when shuffled, in points (held-out dialogues)")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def confusion_table(rows: list[list[float]]) -> Table:
    shown = Table("rated", *(f"told {rating}" for rating in (1, 2, 3)))
    for rating, row in zip((1, 2, 3), rows, strict=True):
        shown.add_row(str(rating), *(f"{count:.0f}" for count in row))
    return shown


@command
def run(
    scorer: Annotated[Path, typer.Argument(help="A folder that fit wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="The plot; features.png beside the scorer by default.")
    ] = None,
) -> Outcome:
    """Figures of a scorer, and a plot of the features that matter."""
    model, card = load_model(scorer)
    path = writable_file(out or scorer / "features.png")
    every: dict[str, float] = card["measured"]["importance"]
    weightiest = dict(sorted(every.items(), key=lambda item: -item[1])[:SHOWN])
    plot(weightiest, path)
    design = model.design
    line = f"{' + '.join(design.families)}; {design.classifier}; selection {design.selection}"
    data: dict[str, Any] = {"plot": str(path), "importance": weightiest, **card["measured"]}
    shown = [line, table_of(card), confusion_table(card["measured"]["confusion"]), f"wrote {path}"]
    return Outcome(data, shown)
