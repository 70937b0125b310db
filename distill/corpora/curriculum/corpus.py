"""The curriculum as a corpus: `count` dialogues, nearly all of them for training."""

import itertools
from collections.abc import Iterator
from importlib import resources

from distill.core.jsonl import Problems, digest_text
from distill.core.records import SPLITS, Dialogue, Privileged, Response
from distill.corpora.curriculum.events import HERE
from distill.corpora.curriculum.generate import Example, examples
from distill.corpora.item import Item
from distill.corpora.reading import Reading, Request
from distill.corpora.starter import RATINGS

SHARE = {"train": 0.96, "valid": 0.02, "test": 0.02}


def read(request: Request, problems: Problems) -> Reading:
    return Reading(list(curriculum_items(request.count, request.seed)), {"schemas": digest()})


def digest() -> str:
    """Of every file that the dialogues are made from."""
    here = resources.files(HERE)
    told = [
        file
        for folder in ("events", "moments")
        for file in sorted(here.joinpath(folder).iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    ]
    files = [here.joinpath("lexicon.yaml"), *told]
    return digest_text("".join(file.read_text("utf-8") for file in files))


def curriculum_items(count: int, seed: int = 0) -> Iterator[Item]:
    for split in SPLITS:
        for example in itertools.islice(examples(seed, split), round(count * SHARE[split])):
            yield item_of(example)


def item_of(example: Example) -> Item:
    return Item(
        dialogue=Dialogue(
            id=example.id, source="curriculum", turns=list(example.turns), split=example.split
        ),
        privileged=Privileged(dialogue_id=example.id, fields=dict(example.privileged)),
        responses=tuple(
            Response(
                id=f"{example.id}/{grade}",
                dialogue_id=example.id,
                text=example.replies[grade],
                author="curriculum",
                strategy=grade,
                improves=f"{example.id}/direct" if grade == "improved" else None,
                rating=rating,
            )
            for grade, rating in RATINGS.items()
        ),
    )
