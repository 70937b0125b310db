"""The analysis of rated responses in arXiv 2507.08151, and lengths and emotions of any corpus.

In: items. Out: `analyse` gives plain data for --json, `tables` the same for people. Ratings are
1 bad, 2 okay, 3 good; where nobody rated, nothing is counted.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from rich.table import Table

from distill.core.records import SPLITS, Response
from distill.corpora.item import Item
from distill.corpora.lengths import Distribution, distribution, words_in
from distill.corpora.rated_responses import GOOD, HUMAN, PAPER

RATINGS = (1, 2, 3)
EMOTION_COLUMNS = 4


class Items(Protocol):
    """Items that can be gone through again and again: a list, or a shelf."""

    def __iter__(self) -> Iterator[Item]: ...

    def __len__(self) -> int: ...


@dataclass
class Tally:
    """What is counted of one responder: words and ratings, each with how often."""

    words: Counter[int] = field(default_factory=Counter)
    ratings: Counter[int] = field(default_factory=Counter)

    def add(self, response: Response) -> None:
        self.words[words_in(response.text)] += 1
        if response.rating:
            self.ratings[response.rating] += 1

    def result(self) -> dict[str, Any]:
        rated = self.ratings.total()
        total = sum(rating * count for rating, count in self.ratings.items())
        return {
            "responses": self.words.total(),
            "words": distribution(self.words.elements()),
            "ratings": {str(rating): self.ratings[rating] for rating in RATINGS},
            "mean_rating": round(total / rated, 3) if rated else None,
        }


def analyse(items: Items) -> dict[str, Any]:
    """Splits, lengths in words, emotions, ratings per responder, the human against each."""
    names = responder_names(items)
    splits = Counter(item.dialogue.split for item in items)
    notes = (item.privileged.fields.get("emotion", "") for item in items if item.privileged)
    said = ([t.content for t in i.dialogue.turns if t.role == "user"] for i in items)
    responders: dict[str, Tally] = {}
    for item in items:
        for response in item.responses:
            responders.setdefault(names[label(response)], Tally()).add(response)
    return {
        "dialogues": len(items),
        "splits": {split: splits[split] for split in SPLITS},
        "emotions": dict(Counter(filter(None, notes)).most_common()),
        "turns": distribution(len(item.dialogue.turns) for item in items),
        "user_words": distribution(sum(map(words_in, texts)) for texts in said),
        "responders": {name: tally.result() for name, tally in responders.items()},
        "human_against": human_against(items, names),
        "fewer_than_two_good": fewer_than_two_good(items),
    }


def label(response: Response) -> tuple[str, str | None]:
    return response.author, response.strategy


def responder_names(items: Items) -> dict[tuple[str, str | None], str]:
    """An author's name, with the strategy where one author has several."""
    labels = {label(response): None for item in items for response in item.responses}
    authors = Counter(author for author, _ in labels)
    return {
        (author, strategy): f"{author} {strategy}" if authors[author] > 1 and strategy else author
        for author, strategy in labels
    }


def human_against(
    items: Items, names: Mapping[tuple[str, str | None], str]
) -> dict[str, dict[str, Any]]:
    """How often the human's rating is better than, equal to, worse than that of each responder.

    `table` counts every combination: the human's rating, then the other's.
    """
    tables: dict[str, Counter[tuple[int, int]]] = {}
    for human, others in rated_by_people(items):
        for response in others:
            if response.rating:
                table = tables.setdefault(names[label(response)], Counter())
                table[human, response.rating] += 1
    return {name: compared(table) for name, table in tables.items()}


def compared(table: Counter[tuple[int, int]]) -> dict[str, Any]:
    return {
        "better": sum(n for (human, other), n in table.items() if human > other),
        "equal": sum(n for (human, other), n in table.items() if human == other),
        "worse": sum(n for (human, other), n in table.items() if human < other),
        "table": {str(h): {str(o): table[h, o] for o in RATINGS} for h in RATINGS},
    }


def rated_by_people(items: Items) -> Iterator[tuple[int, list[Response]]]:
    """The human's rating and the other responses, where the human's response has a rating."""
    for item in items:
        human = next((r for r in item.responses if r.author == HUMAN), None)
        if human and human.rating:
            yield human.rating, [r for r in item.responses if r is not human]


def fewer_than_two_good(items: Items) -> dict[str, int]:
    """The dialogues of the paper's test rule, among its five responders where they are there."""
    present = {r.author for _, others in rated_by_people(items) for r in others} | {HUMAN}
    counted = PAPER if present >= PAPER else present
    good = Counter(
        (human == GOOD) + sum(r.rating == GOOD and r.author in counted for r in others)
        for human, others in rated_by_people(items)
    )
    return {
        "dialogues": good[0] + good[1],
        "of": good.total(),
        "responders": len(counted) if good else 0,
    }


def tables(found: Mapping[str, Any]) -> Iterator[Table | str]:
    """The analysis for people; what is empty is left out."""
    splits = ", ".join(f"{name} {count}" for name, count in found["splits"].items())
    yield f"{found['dialogues']} dialogues ({splits})"
    yield words_table(found)
    if any(sum(one["ratings"].values()) for one in found["responders"].values()):
        yield ratings_table(found["responders"])
    if found["human_against"]:
        yield human_table(found["human_against"])
        few = found["fewer_than_two_good"]
        yield (
            f"dialogues with fewer than two of {few['responders']} responses rated good: "
            f"{few['dialogues']} of {few['of']}"
        )
    if found["emotions"]:
        yield emotions_table(found["emotions"])


def words_table(found: Mapping[str, Any]) -> Table:
    columns = ("count", "mean", "p5", "median", "p95", "max")
    table = right_table("Lengths", "", *columns)

    def add(name: str, lengths: Distribution) -> None:
        table.add_row(name, *(str(lengths.get(column, "")) for column in columns))

    add("turns", found["turns"])
    add("words of the user", found["user_words"])
    for name, one in found["responders"].items():
        add(f"words of {name}", one["words"])
    return table


def ratings_table(responders: Mapping[str, Any]) -> Table:
    table = right_table("Ratings", "responder", "bad", "okay", "good", "mean")
    for name, one in responders.items():
        if one["mean_rating"] is not None:
            table.add_row(name, *map(str, one["ratings"].values()), f"{one['mean_rating']:.2f}")
    return table


def human_table(human: Mapping[str, Any]) -> Table:
    table = right_table("The human's rating is", "against", "better", "equal", "worse")
    for name, one in human.items():
        table.add_row(name, *(str(one[side]) for side in ("better", "equal", "worse")))
    return table


def emotions_table(emotions: Mapping[str, int]) -> Table:
    table = Table(title="Emotions", title_justify="left", show_header=False)
    cells = [f"{name} {count}" for name, count in emotions.items()]
    for start in range(0, len(cells), EMOTION_COLUMNS):
        table.add_row(*cells[start : start + EMOTION_COLUMNS])
    return table


def right_table(title: str, first: str, *columns: str) -> Table:
    table = Table(first, title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    return table
