"""The options of every command that asks judges, in one place.

In: a command's function with an argument `asked`. Out: the same with the options of `JudgeOptions`
on the command line. Refused: options that do not go together (BadInput).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from distill.core.asking import Terms
from distill.core.chat import Sampling
from distill.core.chat.table import PROVIDERS
from distill.core.command import offered
from distill.core.errors import BadInput
from distill.core.options import with_options
from distill.core.prices import read_price
from eval.judges.rubric import RUBRICS

LEDGER = "ledger.sqlite"
LOCAL = ("offline", "embedded", "person")


@dataclass(frozen=True)
class JudgeOptions:
    """Who judges, by which rubric, and for how much money."""

    judge: Annotated[
        list[str],
        typer.Option(
            help="Who decides: offline, offline:FOLDER (a scorer that you fitted), embedded, "
            "openai:MODEL, gemini:MODEL, transformers:FOLDER, person (votes given on the page of "
            "distill demo). Again for a panel.",
            autocompletion=offered([*LOCAL, *(f"{name}:" for name in PROVIDERS)]),
        ),
    ] = field(default_factory=lambda: ["offline"])
    model: Annotated[
        str | None, typer.Option(help="Model of a judge that was named by its provider alone.")
    ] = None
    base_url: Annotated[
        list[str], typer.Option(help="Endpoint of the judge, again for several that share it.")
    ] = field(default_factory=list)
    rubric: Annotated[
        str,
        typer.Option(
            help="empathy, cognitive, affective, compassionate, safety, or a file of your own.",
            autocompletion=offered(RUBRICS),
        ),
    ] = "empathy"
    calibration: Annotated[
        Path | None, typer.Option(help="What distill eval calibrate wrote of this judge.")
    ] = None
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer of the judge.")] = 1024
    temperature: Annotated[float, typer.Option(min=0, help="Of the judge; 0 is greedy.")] = 0.0
    no_temperature: Annotated[
        bool, typer.Option("--no-temperature", help="Send none: reasoning models refuse it.")
    ] = False
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 8
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a call may take.")] = 120.0
    retries: Annotated[int, typer.Option(min=0, help="Attempts after a call that failed.")] = 4
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars that all calls in the ledger may cost; stops before."),
    ] = None
    price: Annotated[
        str | None, typer.Option(help="IN,OUT: dollars per million tokens, for unlisted models.")
    ] = None
    ledger: Annotated[
        Path | None, typer.Option(help="Where finished calls are kept; in --out by default.")
    ] = None
    batch: Annotated[
        bool,
        typer.Option(
            "--batch", help="By the provider's batch service; the same command fetches later."
        ),
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print calls, tokens and cost; ask nothing.")
    ] = False

    def specs(self) -> list[str]:
        """The judges as `KIND` or `KIND:WHAT`, each once."""
        named = [
            f"{one}:{self.model}" if self.model and ":" not in one and one not in LOCAL else one
            for one in self.judge
        ]
        if len(set(named)) < len(named):
            raise BadInput("a judge is named twice; a panel needs different --judge")
        return named

    def sampling(self) -> Sampling:
        return Sampling(self.max_tokens, None if self.no_temperature else self.temperature)

    def terms(self) -> Terms:
        price = read_price(self.price) if self.price else None
        return Terms(self.concurrency, self.max_cost, price)


asks_judges = with_options(JudgeOptions, "asked")
