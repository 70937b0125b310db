"""The curriculum as a corpus: `count` dialogues, nearly all of them for training.

Besides the three grades a dialogue has a `stray` reply, well made and to somebody who feels
something else, and a `loop`, the improved one that repeats itself. Who prefers the improved one to
the first has to listen, to the second has to go on.
"""

import itertools
import re
from collections.abc import Iterator
from importlib import resources

from distill.core.jsonl import Problems, digest_text
from distill.core.records import SPLITS, Dialogue, Privileged, Response
from distill.corpora.curriculum.events import HERE
from distill.corpora.curriculum.generate import Example, examples
from distill.corpora.item import Item
from distill.corpora.reading import Reading, Request
from distill.corpora.starter import RATINGS

STRAY, LOOP, SPOILED_RATING = "stray", "loop", 1
SENTENCE = re.compile(r"[^.!?]+[.!?]+")
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
        stream = itertools.islice(examples(seed, split), round(count * SHARE[split]) + 1)
        for example, neighbor in itertools.pairwise(stream):
            yield item_of(example, neighbor)


def item_of(example: Example, neighbor: Example) -> Item:
    """A dialogue with its graded replies and the two spoiled ones."""
    dialogue = Dialogue(
        id=example.id, source="curriculum", turns=list(example.turns), split=example.split
    )
    privileged = Privileged(dialogue_id=example.id, fields=dict(example.privileged))
    replies = [(grade, example.replies[grade], rating) for grade, rating in RATINGS.items()]
    replies.append((LOOP, loop_of(example.replies["improved"]), SPOILED_RATING))
    if neighbor.emotion != example.emotion:
        replies.append((STRAY, neighbor.replies["improved"], SPOILED_RATING))
    responses = (
        Response(
            id=f"{example.id}/{grade}",
            dialogue_id=example.id,
            text=text,
            author="curriculum",
            strategy=grade,
            improves=f"{example.id}/direct" if grade == "improved" else None,
            rating=rating,
        )
        for grade, text, rating in replies
    )
    return Item(dialogue=dialogue, privileged=privileged, responses=tuple(responses))


def loop_of(reply: str) -> str:
    """The reply as a small student gets stuck in it: one sentence where the next should follow."""
    sentences = [sentence.strip() for sentence in SENTENCE.findall(reply)]
    stuck = sentences[max(0, len(sentences) - 3)]
    return " ".join([*sentences[:-3], *[stuck] * 3, sentences[-1]])
