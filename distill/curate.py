"""Refuse what no student should learn: too long, declined, looping, leaked, changed, said before.

In: a folder in gather's format. Out: the same folder without the responses that a rule refused,
and `refusals.jsonl` with each of them, its rule and its reason. No text is ever cut. What people
wrote stays, whatever it is: it is the original and the rejected side of preferences. Refused:
broken lines, an unknown rule, data of which nothing would be left (BadInput).
"""

import itertools
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.folder import replacing_folder
from distill.core.jsonl import line_of, numbered_lines, read_json, write_json, write_lines
from distill.core.progress import say
from distill.curating.case import Case, Check, Settings
from distill.curating.material import Material
from distill.curating.mean_length import mean_of, to_refuse
from distill.curating.table import MEAN_LENGTH, RULES, checks_of, wanted_rules
from distill.teaching.data_folder import NAMES, UNANSWERED

UNCHANGED = ("dialogues.jsonl", "privileged.jsonl", UNANSWERED)
AT_ONCE = 512


def curate(material: Material, rules: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Give every verdict; what came of it, as `gather.json` will tell it."""
    checks = checks_of(rules, settings)
    for batch in batches(material.cases()):
        judge(material, batch, checks)
    mean = mean_of(material.lengths())
    if MEAN_LENGTH in rules and mean is not None and mean > settings.mean_words:
        refuse_longest(material, mean, settings.mean_words)
    counts = material.counts()
    left = mean_of(material.lengths())
    return {
        "verb": "curate",
        "responses": material.responses,
        "refused": {name: counts.get(name, 0) for name in rules},
        "mean_words": None if left is None else round(left, 2),
        "max_words": settings.max_words,
        "asked_mean_words": settings.mean_words,
        "embeddings": settings.embeddings,
        "min_similarity": settings.min_similarity,
    }


def batches(cases: Iterator[Case]) -> Iterator[list[Case]]:
    while batch := list(itertools.islice(cases, AT_ONCE)):
        yield batch


def judge(material: Material, cases: list[Case], checks: dict[str, Check]) -> None:
    """Pass cases from rule to rule; one that is refused goes no further."""
    for name, check in checks.items():
        kept = []
        for case, reason in zip(cases, check(cases), strict=True):
            if reason is None:
                kept.append(case)
            else:
                material.refuse(case.place, name, reason)
        cases = kept


def refuse_longest(material: Material, mean: float, asked: float) -> None:
    refused = to_refuse(material.lengths(), asked)
    for words, number in refused.items():
        for place in material.kept_of_length(words, number):
            reason = f"{words} words, among the longest of texts of {mean:.1f} on average"
            material.refuse(place, MEAN_LENGTH, reason)
    say(
        f"the mean is {mean:.1f} words, {asked:g} were asked for: {sum(refused.values())} of the "
        f"longest are refused ({min(refused)} words or more)"
    )


def write(material: Material, step: dict[str, Any], out: Path) -> None:
    """Write the folder whole or not at all."""
    source = material.folder
    report = read_json(source / "gather.json") if (source / "gather.json").exists() else {}
    with replacing_folder(out, NAMES) as folder:
        for name in UNCHANGED:
            if (source / name).exists():
                shutil.copyfile(source / name, folder / name)
        write_lines(folder / "responses.jsonl", material.kept_lines())
        fresh = map(line_of, material.refusals())
        write_lines(
            folder / "refusals.jsonl",
            itertools.chain(earlier_lines(source / "refusals.jsonl"), fresh),
        )
        steps = [*report.get("steps", []), step]
        write_json(folder / "gather.json", {**report, "steps": steps})


def earlier_lines(file: Path) -> Iterator[str]:
    """Refusals of an earlier run, which stay."""
    if file.exists():
        yield from (line_of(value) for _, value in numbered_lines(file))


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder with dialogues and responses.")],
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    max_words: Annotated[int, typer.Option(min=1, help="Longest response.")] = 97,
    mean_words: Annotated[
        float, typer.Option(min=1, help="Mean length; above it the longest are refused.")
    ] = 28.0,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Least likeness of an improvement; default 0.02, encoder 0.2."
        ),
    ] = None,
    embeddings: Annotated[
        str | None,
        typer.Option(help="Folder or installed package of a sentence encoder, for likeness."),
    ] = None,
    rules: Annotated[
        str | None,
        typer.Option(
            help="With commas, default all: "
            + "; ".join(f"{name}: {rule.help}" for name, rule in RULES.items()),
            autocompletion=offered(RULES),
        ),
    ] = None,
    ask_again: Annotated[
        Path | None, typer.Option(help="File of refusals for --again of teach and improve.")
    ] = None,
) -> Outcome:
    """Refuse responses by rules, and say which by which."""
    names = wanted_rules(rules)
    material = Material(data)
    settings = Settings(
        max_words, mean_words, min_similarity, embeddings, material.texts, material.name_at
    )
    step = curate(material, names, settings)
    refused = sum(step["refused"].values())
    if refused == step["responses"]:
        raise BadInput(f"every response of {data} is refused; nothing was written")
    write(material, step, out)
    again = None
    if ask_again:
        again = write_lines(ask_again, map(line_of, material.refusals(of_teachers=True)))
    kept = step["responses"] - refused
    mean = f"mean {step['mean_words']:.1f} words" if step["mean_words"] else "none of a teacher"
    text = [table_of(step["refused"]), f"{out}: {kept} of {step['responses']} kept, {mean}"]
    if again is not None:
        text.append(f"{ask_again}: {again} to ask again, with --again {ask_again}")
    return Outcome({"out": str(out), "kept": kept, "ask_again": again, **step}, text)


def table_of(refused: dict[str, int]) -> Table:
    table = Table("rule", title="Refused", title_justify="left")
    table.add_column("responses", justify="right")
    table.add_column("refuses")
    for name, count in refused.items():
        table.add_row(name, str(count), RULES[name].help)
    return table
