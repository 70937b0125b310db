"""Fit a scorer of ratings 1 to 3 from replies that people rated.

In: a folder that `distill gather rated-responses=PATH` wrote. Out: a folder with the scorer as data
and `scorer.json`, what it is made of and how well its design does on dialogues that it has not
seen: that is measured on fits of four fifths, and the scorer that is saved has learned from all.
Refused: unknown features, classifiers, selections (BadInput).
"""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.asking import Terms
from distill.core.chat.table import open_chat
from distill.core.command import Outcome, command, offered
from distill.core.jsonl import sha256_of
from distill.core.prices import read_price
from eval.judges.options import LEDGER
from eval.outputs import writable_folder
from eval.scoring.classifiers import CLASSIFIERS, SELECTIONS
from eval.scoring.columns import FAMILIES, LEARNED, Source
from eval.scoring.model import CARD, Design, fit_model, known, save_model
from eval.scoring.rated import read_rated
from eval.scoring.subfactors import Subfactors
from eval.scoring.trials import as_many_of_each, measured


def percent_between(figure: dict[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.1%} ({low:.1%} to {high:.1%})"


def table_of(card: dict[str, Any]) -> Table:
    shown = Table(title="on dialogues that were held out", show_header=False)
    found, agreed = card["measured"], card["measured"]["pairwise"]
    seeds = ", ".join(f"{one:.1%}" for one in found["accuracy_by_seed"])
    low, high = found["quadratic_kappa"]["interval"]
    kappa = f"{found['quadratic_kappa']['value']:.2f} ({low:.2f} to {high:.2f})"
    shown.add_row("accuracy", percent_between(found["accuracy"]))
    shown.add_row("by seed", seeds)
    shown.add_row("macro-F1", percent_between(found["macro_f1"]))
    shown.add_row("quadratic kappa", kappa)
    shown.add_row(
        "decided pairs in the right order",
        percent_between({"value": agreed["agreement"], "interval": agreed["interval"]})
        + f" of {agreed['pairs']:,}",
    )
    return shown


def note_of(measured: dict[str, Any]) -> str:
    """What a judge that uses the scorer says of itself."""
    agreed = measured["pairwise"]
    low, high = agreed["interval"]
    return (
        f"a fitted scorer; agrees with the raters on {agreed['agreement']:.0%} "
        f"[{low:.0%}, {high:.0%}] of {agreed['pairs']:,} decided pairs of held-out dialogues"
    )


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder with rated replies, as gather writes it.")],
    out: Annotated[Path, typer.Option(help="The folder of the scorer.")],
    features: Annotated[
        list[str],
        typer.Option(
            help=f"Of {', '.join([*FAMILIES, LEARNED])}; again for their union.",
            autocompletion=offered(FAMILIES, LEARNED),
        ),
    ] = ["text"],  # noqa: B006
    classifier: Annotated[
        str,
        typer.Option(help=f"Of {', '.join(CLASSIFIERS)}.", autocompletion=offered(CLASSIFIERS)),
    ] = "logistic",
    select: Annotated[
        str,
        typer.Option(
            help=f"none, {', '.join(SELECTIONS)}.",
            autocompletion=offered(SELECTIONS, "none"),
        ),
    ] = "none",
    keep: Annotated[int, typer.Option(min=1, help="Columns that a selection keeps.")] = 50,
    embedder: Annotated[str, typer.Option(help="local, or openai:MODEL.")] = "local",
    scorer: Annotated[
        str | None, typer.Option(help="PROVIDER:MODEL that scores the sub-factors.")
    ] = None,
    base_url: Annotated[list[str], typer.Option(help="Endpoint of --scorer.")] = [],  # noqa: B006
    price: Annotated[str | None, typer.Option(help="IN,OUT of --scorer, when unlisted.")] = None,
    max_cost: Annotated[float | None, typer.Option(min=0, help="Dollars for --scorer.")] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 8,
    seeds: Annotated[int, typer.Option(min=1, help="Splits to measure on.")] = 5,
    as_rated: Annotated[
        bool, typer.Option("--as-rated", help="Keep the classes as uneven as they are.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of the scorer that is saved.")] = 0,
) -> Outcome:
    """Measure a design on held-out dialogues, then fit it on all and save it as data."""
    design = Design(tuple(dict.fromkeys(features)), classifier, select, keep, embedder, seed)
    rows = read_rated(data)
    writable_folder(out)
    asked = None
    if scorer:
        terms = Terms(concurrency, max_cost, read_price(price) if price else None)
        asked = Subfactors(open_chat(scorer, base_urls=tuple(base_url)), out / LEDGER, terms)
    every = known(rows, design, Source(embedder, asked))
    found = measured(every, design, seeds, balanced=not as_rated)
    learned = every if as_rated else every.at(as_many_of_each(rows, seed))
    card = {
        "measured": found,
        "agreement_note": note_of(found),
        "scorer": scorer,
        "learned_rows": len(learned.rows),
        "data_sha256": {name: sha256_of(data / name) for name in ("responses.jsonl",)},
    }
    save_model(fit_model(learned, design), out, card)
    return Outcome({**card, "out": str(out / CARD)}, [table_of(card), f"wrote {out / CARD}"])
