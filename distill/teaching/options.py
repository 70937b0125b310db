"""The options that every command with a teacher shares, in one place.

In: a command's function with an argument `service`. Out: the same with the options of `Service`
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
from distill.teaching.choosing import TEACHABLE

LEDGER = Path("runs/ledger.sqlite")
MAX_WORDS = 97
LedgerPath = Annotated[Path, typer.Option("--ledger", help="Where finished calls are kept.")]
MaxWords = Annotated[int, typer.Option(min=1, help="Most words of a reply, as the prompt says.")]


@dataclass(frozen=True)
class Service:
    """Who is asked, about which dialogues, how, and for how much money."""

    teacher: Annotated[
        str,
        typer.Option(
            help="PROVIDER:MODEL, as in openai:gpt-4o or transformers:FOLDER.",
            autocompletion=offered([f"{name}:" for name in PROVIDERS]),
        ),
    ]
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; may be left out with --dry-run.")
    ] = None
    split: Annotated[
        list[str], typer.Option(help="Splits to ask about, again for more; never test.")
    ] = field(default_factory=lambda: list(TEACHABLE))
    shard: Annotated[
        str | None, typer.Option(help="Ask about the part I/N of the dialogues alone, as in 2/5.")
    ] = None
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about so many dialogues.")] = None
    again: Annotated[
        Path | None,
        typer.Option(help="A file of refusals: ask anew, with another seed, for those it names."),
    ] = None
    max_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens of an answer, unseen reasoning included.")
    ] = 512
    temperature: Annotated[float, typer.Option(min=0, help="0 is greedy.")] = 0.7
    no_temperature: Annotated[
        bool, typer.Option("--no-temperature", help="Send none: reasoning models refuse it.")
    ] = False
    seed: Annotated[int | None, typer.Option(help="Sent with every call; none by default.")] = None
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 8
    base_url: Annotated[
        list[str], typer.Option(help="Endpoint of the teacher, again for several that share it.")
    ] = field(default_factory=list)
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a call may take.")] = 120.0
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="Dollars that all calls in the ledger may cost; stops before."),
    ] = None
    price: Annotated[
        str | None, typer.Option(help="IN,OUT: dollars per million tokens, for unlisted models.")
    ] = None
    ledger: LedgerPath = LEDGER
    batch: Annotated[
        bool, typer.Option("--batch", help="Submit to the provider's batch service, and leave.")
    ] = False
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print calls, tokens and cost; ask nothing.")
    ] = False

    def sampling(self, attempt: int) -> Sampling:
        """A later attempt has a higher seed, so that it is another call."""
        seed = (self.seed or 0) + attempt - 1 if attempt > 1 else self.seed
        return Sampling(self.max_tokens, None if self.no_temperature else self.temperature, seed)

    def terms(self) -> Terms:
        return Terms(
            self.concurrency, self.max_cost, read_price(self.price) if self.price else None
        )

    def target(self) -> Path:
        if self.out is None:
            raise BadInput("say where to write with --out FOLDER, or count first with --dry-run")
        return self.out


asks_a_teacher = with_options(Service, "service")
