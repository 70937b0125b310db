"""The bundled starter dialogues: 900 with three graded responses each, ours, Apache-2.0."""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from distill.core.errors import BadInput
from distill.core.jsonl import Problems, digest_text
from distill.core.records import Dialogue, Privileged, Response, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import Reading, Request

RATINGS = {"plain": 1, "direct": 2, "improved": 3}


def read(request: Request, problems: Problems) -> Reading:
    """The bundled dialogues, or those whose id begins with one of the letters in `parts`."""
    items = read_starter()
    known = {item.dialogue.id[0] for item in items}
    wanted = set(request.parts) if request.parts else known
    if unknown := sorted(wanted - known):
        raise BadInput(
            f"the starter has no part {unknown[0]}; its parts are {', '.join(sorted(known))}"
        )
    return Reading(
        [item for item in items if item.dialogue.id[0] in wanted],
        {"dialogues.jsonl": digest_text(starter_text())},
    )


def starter_text() -> str:
    return resources.files("distill").joinpath("starter", "dialogues.jsonl").read_text("utf-8")


@cache
def read_starter() -> tuple[Item, ...]:
    return tuple(item_of(json.loads(line)) for line in starter_text().splitlines())


def item_of(raw: Mapping[str, Any]) -> Item:
    name = raw["id"]
    fields = {"emotion": raw["emotion"], "situation": raw["situation"], **raw["privileged"]}
    return Item(
        dialogue=Dialogue(
            id=name,
            source="starter",
            turns=[Turn(**turn) for turn in raw["turns"]],
            split=split_by_id(name),
        ),
        privileged=Privileged(dialogue_id=name, fields=fields),
        responses=tuple(
            Response(
                id=f"{name}/{grade}",
                dialogue_id=name,
                text=raw["responses"][grade],
                author="starter",
                strategy=grade,
                improves=f"{name}/direct" if grade == "improved" else None,
                rating=rating,
            )
            for grade, rating in RATINGS.items()
        ),
    )
