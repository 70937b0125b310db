"""Read corpora into dialogues, what only a teacher may read, and the responses there are.

In: names of corpora, `NAME=PATH` for those that are read from files. Out: a folder with
`dialogues.jsonl`, `privileged.jsonl`, `responses.jsonl` and `gather.json`. Refused: a corpus
that is not known, files that are not there, broken rows (all of them named once); then nothing
is written. Items wait on a temporary file: a corpus of any size takes the same memory.

Every conversation is in one split only. When two corpora hold the same one, it is kept once: in
the split that comes last in train, valid, test, and there with the most responses. Then
near-duplicates across splits go.
"""

import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.folder import replacing_folder
from distill.core.jsonl import Problems, write_json, write_lines
from distill.core.progress import say
from distill.core.records import SPLITS
from distill.corpora.item import Item
from distill.corpora.near_duplicates import RANK, THRESHOLD, near_duplicates
from distill.corpora.reading import Reading, Request
from distill.corpora.shelf import Row, Shelf, item_of
from distill.corpora.statistics import analyse, tables
from distill.corpora.table import CORPORA, reader

FILES = ("dialogues.jsonl", "privileged.jsonl", "responses.jsonl", "gather.json")
KNOWN = "; ".join(f"{corpus.usage} ({corpus.help})" for corpus in CORPORA.values())


@dataclass(frozen=True)
class Kept:
    """The items of a shelf without the places that were dropped."""

    shelf: Shelf
    dropped: Collection[int]

    def lines(self) -> Iterator[Row]:
        return self.shelf.lines(lambda place: place not in self.dropped)

    def __iter__(self) -> Iterator[Item]:
        return map(item_of, self.lines())

    def __len__(self) -> int:
        return len(self.shelf) - len(self.dropped)


@dataclass(frozen=True)
class Gathered:
    """The items that were kept, all that were read, and what `gather.json` says of them."""

    items: Kept
    everything: Shelf
    report: dict[str, Any]


def gather(sources: Sequence[str], request: Request | None = None) -> Gathered:
    """Read every source and keep each conversation once; BadInput names all broken rows."""
    request = request or Request()
    problems = Problems()
    readings = {}
    for source in sources:
        name, _, path = source.partition("=")
        wanted = replace(request, path=Path(path) if path else None)
        readings[source] = reader(name)(wanted, problems)
    problems.refuse()
    once = once_each([reading.items for reading in readings.values()])
    dropped = near_duplicates(once.said)
    kept = Kept(once, dropped.keys())
    if not len(kept):
        raise BadInput(f"no dialogues in {', '.join(sources)}; nothing was written")
    near = {once.name_at(a): once.name_at(b) for a, b in dropped.items()}
    found = sum(len(reading.items) for reading in readings.values())
    report = {
        "corpora": [described(source, reading) for source, reading in readings.items()],
        "counts": counts_of(kept),
        "repeated_conversations": found - len(once),
        "near_duplicates": {"threshold": THRESHOLD, "removed": len(near), "near_to": near},
        "seed": request.seed,
    }
    return Gathered(kept, once, report)


def once_each(readings: Sequence[list[Item] | Shelf]) -> Shelf:
    """One item for each conversation: of the latest split, with most responses, named first."""
    if len(readings) == 1 and isinstance(readings[0], Shelf):
        return readings[0]
    best = Shelf()
    for item in itertools.chain.from_iterable(readings):
        if (other := best.find(item.dialogue.id)) is None:
            best.append(item)
        elif weight(item) > weight(other[1]):
            best.put(other[0], item)
    return best


def weight(item: Item) -> tuple[int, int]:
    return RANK[item.dialogue.split], len(item.responses)


def described(source: str, reading: Reading) -> dict[str, Any]:
    return {
        "name": source.partition("=")[0],
        "files": reading.files,
        "dialogues": len(reading.items),
        "left_out": dict(reading.left_out),
        "remarks": reading.remarks,
    }


def counts_of(items: Iterable[Item]) -> dict[str, dict[str, int]]:
    """Dialogues by source and split, with the responses that they have."""
    counts: dict[str, Counter[str]] = {}
    for item in items:
        count = counts.setdefault(
            item.dialogue.source, Counter(dict.fromkeys([*SPLITS, "responses"], 0))
        )
        count[item.dialogue.split] += 1
        count["responses"] += len(item.responses)
    return {source: dict(count) for source, count in counts.items()}


def write(gathered: Gathered, out: Path) -> None:
    """Write the folder whole or not at all."""
    items = gathered.items
    with replacing_folder(out, FILES) as folder:
        write_lines(folder / "dialogues.jsonl", (dialogue for dialogue, _, _ in items.lines()))
        write_lines(folder / "privileged.jsonl", (p for _, p, _ in items.lines() if p))
        write_lines(folder / "responses.jsonl", (r for _, _, r in items.lines() if r))
        write_json(folder / "gather.json", gathered.report)


@command
def run(
    corpora: Annotated[
        list[str], typer.Argument(help=f"{KNOWN}.", autocompletion=offered(CORPORA))
    ],
    out: Annotated[
        Path | None, typer.Option(help="The folder to write; may be left out with --stats.")
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Analyse all that was read: ratings, lengths, emotions.")
    ] = False,
    parts: Annotated[
        str | None, typer.Option(help="Parts of the starter by letter, as in 'af'; default all.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Dialogues of the curriculum.")] = 9000,
    seed: Annotated[int, typer.Option(help="Seed of the curriculum.")] = 0,
) -> Outcome:
    """Read corpora into dialogues, privileged fields and responses."""
    if out is None and not stats:
        raise BadInput("say where to write, or what to show: --out FOLDER, --stats, or both")
    gathered = gather(corpora, Request(seed=seed, parts=parts, count=count))
    for corpus in gathered.report["corpora"]:
        for remark in corpus["remarks"]:
            say(f"{corpus['name']}: {remark}")
    data: dict[str, Any] = {"out": str(out) if out else None, **gathered.report}
    text: list[Any] = []
    if stats:
        data["stats"] = analyse(gathered.everything)
        text += tables(data["stats"])
    if out:
        write(gathered, out)
        text.append(summary(gathered, out))
    return Outcome(data, text)


def summary(gathered: Gathered, out: Path) -> str:
    report = gathered.report
    splits = {split: sum(c[split] for c in report["counts"].values()) for split in SPLITS}
    counted = ", ".join(f"{split} {splits[split]}" for split in SPLITS)
    removed = report["near_duplicates"]["removed"]
    return (
        f"{out}: {len(gathered.items)} dialogues ({counted}), "
        f"{removed} near-duplicate{'' if removed == 1 else 's'} across splits removed, "
        f"{report['repeated_conversations']} repeated"
    )
