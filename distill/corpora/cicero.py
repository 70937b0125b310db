"""CICERO v2, what people infer in everyday dialogues (Shen et al. 2022, arXiv 2210.02890, MIT).

In: a folder with `train.json`, `val.json`, `test.json`, or one such file: one question a line,
about one utterance of a dialogue of two. Out: one dialogue for each utterance that was asked
about, which ends with it; who says it is the user, and the next turn is a response by "human".
Privileged: what people answered, as `next` (the subsequent event), `cause`, `motivation`,
`reaction` (of the listener) and `prerequisite`. The split is the one that the file name tells.
Refused: rows that do not fit, questions that are not known.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints, field_validator

from distill.core.jsonl import Problems, digest_text
from distill.core.records import SPLITS, Dialogue, Privileged, Response, Split, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import (
    Reading,
    Request,
    conversation,
    digests_of,
    files_of,
    read_rows,
    required_path,
)

NAME = "cicero"
ADDRESS = "the original: https://github.com/declare-lab/CICERO"
NAMES = {"train.json": "train", "val.json": "valid", "test.json": "test"}
ASKED = {
    "subsequent event": "next",
    "cause": "cause",
    "motivation": "motivation",
    "emotional reaction": "reaction",
    "prerequisite": "prerequisite",
}
SPACED = re.compile(r"\s+([.,;:?!\u2019])")


def asked_for(question: str) -> str:
    """The privileged field that a question is about."""
    for words, name in ASKED.items():
        if words in question.casefold():
            return name
    raise ValueError(f"is none that we know ({', '.join(ASKED)})")


class Row(BaseModel):
    """A question with its choices; other fields are not read."""

    id: str = Field(alias="ID", min_length=1)
    dialogue: list[Annotated[str, StringConstraints(pattern="^[^:]+:")]] = Field(
        alias="Dialogue", min_length=1
    )
    target: str = Field(alias="Target", pattern=r"\S")
    field: Annotated[str, AfterValidator(asked_for)] = Field(alias="Question")
    choices: list[str] = Field(alias="Choices")
    correct: list[int] = Field(alias="Correct Answers", min_length=1)

    @field_validator("correct")
    @classmethod
    def sorted_once(cls, places: list[int]) -> list[int]:
        return sorted(set(places))

    def answers(self) -> list[str]:
        """The correct choices; ValueError when one is not there."""
        if not 0 <= self.correct[0] <= self.correct[-1] < len(self.choices):
            raise ValueError(f"Correct Answers names {self.correct[-1]}, which is no choice")
        return [plain(self.choices[place]) for place in self.correct]

    def said(self) -> list[tuple[str, str]]:
        """Who says what; turns without a word are left out."""
        parts = (line.partition(":") for line in self.dialogue)
        said = [(speaker.strip(), plain(text)) for speaker, _, text in parts]
        return [(speaker, text) for speaker, text in said if text]


@dataclass
class Asked:
    """One utterance while its questions are joined."""

    said: Sequence[tuple[str, str]]
    place: int
    split: Split
    answers: dict[str, list[str]] = field(default_factory=dict)


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, ADDRESS)
    files = files_of(path, NAMES, NAME)
    reading = Reading(files=digests_of(files.values()))
    found: dict[str, Asked] = {}
    for meaning, file in files.items():
        split = next((split for split in SPLITS if split == meaning), None)
        if split is None:
            reading.remarks.append(f"{file.name} names no split; each conversation got one by id")
        for number, row in read_rows(file, Row, problems):
            try:
                if not join(row, split or split_by_id(row.id), found):
                    reading.left_out["the utterance is not in the dialogue"] += 1
            except ValueError as error:
                problems.add(f"{file}:{number}: {error}")
    reading.items = [item_of(name, asked) for name, asked in found.items()]
    return reading


def join(row: Row, split: Split, found: dict[str, Asked]) -> bool:
    """Add the answers to those about the same utterance; False when it is not to be found."""
    said, target = row.said(), plain(row.target)
    places = [place for place, (_, text) in enumerate(said) if text == target]
    if not places:
        return False
    name = f"{row.id}/{digest_text(target)[:8]}"
    asked = found.setdefault(name, Asked(said, places[0], split))
    if asked.said != said:
        raise ValueError(f"the dialogue {row.id} differs from that of an earlier row")
    known = asked.answers.setdefault(row.field, [])
    known += [answer for answer in row.answers() if answer not in known]
    return True


def item_of(name: str, asked: Asked) -> Item:
    user = asked.said[asked.place][0]
    turns = [
        Turn(role="user" if speaker == user else "assistant", content=text)
        for speaker, text in asked.said
    ]
    before = conversation(turns[: asked.place + 1])
    after = conversation([turns[asked.place], *turns[asked.place + 1 :]])
    reply = next((turn.content for turn in after if turn.role == "assistant"), None)
    fields = {key: " ".join(answers) for key, answers in asked.answers.items()}
    return Item(
        Dialogue(id=name, source=NAME, turns=before, split=asked.split),
        Privileged(dialogue_id=name, fields=fields),
        (Response(id=f"{name}/human", dialogue_id=name, text=reply, author="human"),)
        if reply
        else (),
    )


def plain(text: str) -> str:
    """The corpus writes a space before each punctuation mark."""
    return SPACED.sub(r"\1", " ".join(text.split()))
