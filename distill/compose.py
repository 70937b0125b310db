"""Compose SFT and preference sets by the paper's rules.

In: a folder that `distill gather` wrote, and a rule. Out: a folder with training and validation
sets in the format of a trainer, `test.jsonl` (the dialogues of the test split) and
`dataset_card.json`. Refused: a training set that shares a dialogue with the test set
(CheckFailed), a rule that finds nothing to imitate, a responder that is not there (BadInput);
then nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.folder import replacing_folder
from distill.core.jsonl import sha256_of, write_json, write_jsonl
from distill.core.progress import say
from distill.core.records import Dialogue, Split
from distill.sets.card import contents, provenance
from distill.sets.composed import TRAINING, Composed, Data, compose
from distill.sets.formats import FORMATS
from distill.sets.leaks import refuse_leak
from distill.sets.rules import BY_RESPONDER, BY_STRATEGY, RULES, Responders

CARD, TEST = "dataset_card.json", "test.jsonl"
NAMES = (CARD, TEST, *(name for known in FORMATS.values() for name in known.names))
ALL = "all"


@dataclass(frozen=True)
class Sets:
    """Everything that will be written, and the card without the digests of its files."""

    parts: dict[Split, Composed]
    test: list[Dialogue]
    card: dict[str, Any]


def compose_folder(
    folder: Path,
    rule: str,
    *,
    seed: int = 0,
    responders: Sequence[str] = (ALL,),
    strategy: str | None = None,
) -> Sets:
    """Apply a rule to a gathered folder; BadInput when it finds nothing, CheckFailed on a leak."""
    if rule not in RULES:
        raise BadInput(f"there is no rule named {rule}; known are: {', '.join(RULES)}")
    data = of_strategy(Data.read(folder), rule, strategy)
    refuse_leak(data.dialogues)
    wanted = wanted_responders(responders, rule, data.authors())
    parts = {split: compose(data, RULES[rule], split, seed, wanted) for split in TRAINING}
    if not parts["train"].targets:
        raise BadInput(
            f"the rule {rule} finds nothing to imitate in the training split of {folder}; it needs "
            f"{RULES[rule].needs} (here: {', '.join(data.authors()) or 'no responses'})"
        )
    test = data.of("test")
    card = {
        "rule": rule,
        "responders": list(responders),
        "strategy": strategy,
        "seed": seed,
        **provenance(folder),
        "sets": contents(parts, test),
    }
    return Sets(parts, test, card)


def of_strategy(data: Data, rule: str, strategy: str | None) -> Data:
    """The data with the improvements of one strategy, or all of it when none is named."""
    if strategy is None:
        return data
    if rule not in BY_STRATEGY:
        raise BadInput(f"--strategy does not go with the rule {rule} ({', '.join(BY_STRATEGY)})")
    if strategy not in (known := data.strategies()):
        raise BadInput(
            f"nothing was improved by the strategy {strategy}; here are: "
            f"{', '.join(known) or 'none'} (distill improve writes them)"
        )
    return data.improved_by(strategy)


def wanted_responders(names: Sequence[str], rule: str, authors: Sequence[str]) -> Responders:
    if list(names) == [ALL]:
        return None
    if rule not in BY_RESPONDER:
        raise BadInput(f"--responder does not go with the rule {rule} ({', '.join(BY_RESPONDER)})")
    if unknown := sorted(set(names) - set(authors)):
        raise BadInput(
            f"no responder is named {unknown[0]}; here are: {', '.join(authors)}, or all"
        )
    return frozenset(names)


def write(sets: Sets, out: Path, form: str = "trl") -> dict[str, Any]:
    """Write the folder whole or not at all; the card that was written."""
    if form not in FORMATS:
        raise BadInput(f"there is no format named {form}; known are: {', '.join(FORMATS)}")
    with replacing_folder(out, NAMES) as folder:
        for name, content in FORMATS[form].files(sets.parts).items():
            if name.endswith(".jsonl"):
                write_jsonl(folder / name, content)
            else:
                write_json(folder / name, content)
        write_jsonl(folder / TEST, sets.test)
        digests = {file.name: sha256_of(file) for file in sorted(folder.iterdir())}
        card = {**sets.card, "format": form, "files": digests}
        write_json(folder / CARD, card)
    return card


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder that `distill gather` wrote.")],
    rule: Annotated[
        str,
        typer.Option(
            help=" ".join(f"{name}: {one.help}." for name, one in RULES.items()),
            autocompletion=offered(RULES),
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    responder: Annotated[
        list[str], typer.Option(help="Whose responses to take, again for more; or all.")
    ] = [ALL],  # noqa: B006
    strategy: Annotated[
        str | None,
        typer.Option(
            help="Take what this strategy improved; without it, what any did.",
            autocompletion=offered("distill.teaching.strategies:STRATEGIES"),
        ),
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            help=" ".join(f"{name}: {one.help}." for name, one in FORMATS.items()),
            autocompletion=offered(FORMATS),
        ),
    ] = "trl",
    seed: Annotated[int, typer.Option(help="Seed of the order of the rows.")] = 0,
) -> Outcome:
    """Compose SFT and preference sets from gathered data."""
    sets = compose_folder(data, rule, seed=seed, responders=responder, strategy=strategy)
    card = write(sets, out, form)
    rows = {name: part["rows"] for name, part in card["sets"].items()}
    for name in [name for name, count in rows.items() if not count]:
        say(f"{name} is empty: {data} has nothing for it by the rule {rule}")
    counted = ", ".join(f"{name} {count}" for name, count in rows.items())
    return Outcome({"out": str(out), "rows": rows, **card}, [f"{out}: {counted}"])
