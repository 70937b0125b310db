"""How well ratings 1 to 3 are told from replies, by features and classifier.

    python -m tests.benchmarks.scoring_framework DATA [--seeds N]

DATA is a folder that `distill gather rated-responses=FILE` wrote of the file with MITI codes. Every
design is measured as `distill eval scoring fit` does: balanced classes, a fifth of the dialogues
held out, five seeds. Nothing is chosen by these figures.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from eval.scoring.columns import LEARNED, Source
from eval.scoring.fit import percent_between
from eval.scoring.model import Design, Known, known
from eval.scoring.rated import read_rated
from eval.scoring.trials import measured

UNIONS = (
    ("embeddings",),
    ("text",),
    ("miti",),
    (LEARNED,),
    ("text", LEARNED),
    ("text", "miti"),
    ("text", "embeddings"),
    ("text", "embeddings", "miti"),
)
DESIGNS = (
    ("logistic", "none", 0),
    ("svc", "none", 0),
    ("tree", "none", 0),
    ("forest", "none", 0),
    ("mlp", "none", 0),
    ("logistic", "k-best", 50),
    ("forest", "k-best", 50),
    ("forest", "permutation", 50),
    ("logistic", "rfe", 50),
)


def main(
    data: Annotated[Path, typer.Argument()],
    seeds: Annotated[int, typer.Option()] = 5,
    embedder: Annotated[str, typer.Option()] = "local",
) -> None:
    rows, source = read_rated(data), Source(embedder)
    table = Table("features", "classifier", "selection", "accuracy", "macro-F1", "kappa", "pairs")
    parts: dict[tuple[str, ...], Known] = {}
    for families in UNIONS:
        parts[families] = known(rows, Design(families, embedder=embedder), source)
        for classifier, selection, keep in DESIGNS:
            if keep >= parts[families].columns.values.shape[1]:
                continue
            design = Design(families, classifier, selection, keep, embedder)
            found = measured(parts[families], design, seeds, balanced=True)
            agreed = found["pairwise"]
            table.add_row(
                " + ".join(families),
                classifier,
                selection,
                percent_between(found["accuracy"]),
                percent_between(found["macro_f1"]),
                f"{found['quadratic_kappa']['value']:.2f}",
                f"{agreed['agreement']:.1%}",
            )
            print(families, classifier, selection, found["accuracy"], flush=True)
    Console(width=150).print(table)


if __name__ == "__main__":
    typer.run(main)
