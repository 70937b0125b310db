"""ESD-CoT, emotional support with a chain of thought (Zhang et al. 2024, arXiv 2406.10960).

In: a folder with files such as `esd_cot_val.json` (full chains) and `em_sr_re_train.json`
(emotion, strategy reason and response in one text), or one such file: one JSON list. Out: one
dialogue a row (the seeker is the user, the supporter the assistant), which ends with the last
turn of the seeker that the supporter replies to; that reply is a response by "human".
Privileged: emotion, stimulus, appraisal, strategy, strategy_reason, as far as the row has them.
The split is the one that the file name tells. Refused: rows that do not fit.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, field_validator

from distill.core.errors import BadInput
from distill.core.jsonl import Problems, digest_text, plain_reason, read_json
from distill.core.records import SPLITS, Dialogue, Privileged, Response, Role, Split, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import (
    Reading,
    Request,
    conversation,
    digests_of,
    files_of,
    last_replied,
    required_path,
)

NAME = "escot"
ADDRESS = "the original: https://github.com/TeigenZhang/ESCoT"
ENDINGS = {"train": "train", "val": "valid", "test": "test"}
NAMES = {
    f"{kind}_{ending}.json": f"{split} {kind}"
    for kind in ("esd_cot", "em_sr_re")
    for ending, split in ENDINGS.items()
}
ROLES: dict[str, Role] = {"seeker": "user", "supporter": "assistant"}
SPOKEN = re.compile(r"(seeker|supporter):\s*(.*)", re.IGNORECASE)
OUTPUT = re.compile(r"Emotion:\n(.+?)\nStrategy Reason:\n(.+?)\nResponse:\n(.+)", re.DOTALL)


class Utterance(BaseModel):
    speaker: Literal["seeker", "supporter"]
    content: str = Field(pattern=r"\S")


class Original(BaseModel):
    dialog: list[Utterance] = Field(min_length=1)
    response: str = Field(pattern=r"\S")


class Chain(BaseModel):
    emotion: str
    emotion_stimuli: str
    individual_appraisal: str
    recognized_strategy: str
    strategy_reason: str


class ChainRow(BaseModel):
    """A row with the whole chain; other fields are not read."""

    original_data: Original
    cot_data: Chain

    def turns(self) -> Iterator[Turn]:
        for said in self.original_data.dialog:
            yield Turn(role=ROLES[said.speaker], content=said.content.strip())
        yield Turn(role="assistant", content=self.original_data.response.strip())

    def fields(self) -> dict[str, str]:
        chain = self.cot_data
        return {
            "emotion": chain.emotion,
            "stimulus": chain.emotion_stimuli,
            "appraisal": chain.individual_appraisal,
            "strategy": chain.recognized_strategy,
            "strategy_reason": chain.strategy_reason,
        }


class PipelineRow(BaseModel):
    """A row for fine-tuning: the dialogue as one text, what is to be written as another."""

    input: str
    output: str

    @field_validator("input")
    @classmethod
    def spoken(cls, text: str) -> str:
        if not SPOKEN.match(text.strip()):
            raise ValueError('does not begin with "seeker:" or "supporter:"')
        return text

    @field_validator("output")
    @classmethod
    def parted(cls, text: str) -> str:
        if not OUTPUT.fullmatch(text.strip()):
            raise ValueError("is not Emotion, Strategy Reason and Response, each under its name")
        return text.strip()

    def parts(self) -> tuple[str, ...]:
        found = OUTPUT.fullmatch(self.output)
        assert found is not None
        return tuple(part.strip() for part in found.groups())

    def turns(self) -> Iterator[Turn]:
        said: list[tuple[str, str]] = []
        for line in filter(None, map(str.strip, self.input.splitlines())):
            if match := SPOKEN.fullmatch(line):
                said.append((match[1].lower(), match[2]))
            else:
                said[-1] = (said[-1][0], f"{said[-1][1]} {line}".strip())
        for speaker, text in said:
            if text:
                yield Turn(role=ROLES[speaker], content=text)
        yield Turn(role="assistant", content=self.parts()[-1])

    def fields(self) -> dict[str, str]:
        emotion, reason, _ = self.parts()
        return {"emotion": emotion, "strategy_reason": reason}


Row = ChainRow | PipelineRow


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, ADDRESS)
    files = files_of(path, NAMES, NAME)
    reading = Reading(files=digests_of(files.values()))
    found: dict[str, Item] = {}
    for meaning, file in files.items():
        split = next((split for split in SPLITS if meaning.startswith(f"{split} ")), None)
        if split is None:
            reading.remarks.append(f"{file.name} names no split; each conversation got one by id")
        for row in rows_of(file, problems):
            item = item_of(row, split)
            if item is None:
                reading.left_out["the supporter never replies"] += 1
            elif (known := found.get(item.dialogue.id)) is None or richer(item, known):
                found[item.dialogue.id] = item
    reading.items = list(found.values())
    return reading


def rows_of(file: Path, problems: Problems) -> Iterator[Row]:
    """The rows of a JSON list; broken ones go to `problems`."""
    rows = read_json(file)
    if not isinstance(rows, list):
        raise BadInput(f"{file} is no JSON list; this is no file of {NAME}")
    for number, row in enumerate(rows, 1):
        kind = ChainRow if isinstance(row, dict) and "cot_data" in row else PipelineRow
        try:
            yield kind.model_validate(row)
        except ValueError as error:
            problems.add(f"{file}: entry {number}: {plain_reason(error)}")


def item_of(row: Row, split: Split | None) -> Item | None:
    turns = conversation(row.turns())
    if (place := last_replied(turns)) is None:
        return None
    name = f"escot-{digest_text(' '.join(turn.content for turn in turns[:place]))[:12]}"
    fields = {key: text.strip() for key, text in row.fields().items() if text.strip()}
    return Item(
        Dialogue(id=name, source=NAME, turns=turns[:place], split=split or split_by_id(name)),
        Privileged(dialogue_id=name, fields=fields),
        (
            Response(
                id=f"{name}/human", dialogue_id=name, text=turns[place].content, author="human"
            ),
        ),
    )


def richer(item: Item, known: Item) -> bool:
    """A whole chain is kept rather than a part of it."""
    return len(fields_of(item)) > len(fields_of(known))


def fields_of(item: Item) -> dict[str, str]:
    return item.privileged.fields if item.privileged else {}
