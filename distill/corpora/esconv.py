"""ESConv, emotional support conversations (Liu et al. 2021, arXiv 2106.01144, CC BY-NC 4.0).

In: a folder with `train.txt`, `valid.txt`, `test.txt`, or one such file: one JSON conversation a
line. Out: one dialogue a conversation (the seeker is the user, the supporter the assistant),
which ends with the last turn of the seeker that the supporter replies to; that reply is a
response by "human". Privileged: situation, emotion, problem, intensities before and after, the
supporter's strategies, as `strategy` those of the reply, and as `next` the turns after the reply.
Refused: rows that do not fit.
"""

import itertools
from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, Field

from distill.core.jsonl import Problems, digest_text
from distill.core.records import SPLITS, Dialogue, Privileged, Response, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import (
    Reading,
    Request,
    as_text,
    conversation,
    digests_of,
    files_of,
    last_replied,
    read_rows,
    required_path,
)

NAME = "esconv"
ADDRESS = "the original: https://huggingface.co/datasets/thu-coai/esconv"
NAMES = {f"{split}.txt": split for split in SPLITS}
ROLES: dict[str, Literal["user", "assistant"]] = {"usr": "user", "sys": "assistant"}


class Utterance(BaseModel):
    speaker: Literal["usr", "sys"]
    text: str = Field(pattern=r"\S")
    strategy: str | None = None


class Survey(BaseModel):
    seeker: dict[str, str] = {}


class Conversation(BaseModel):
    """One conversation; the other fields of the file are not read."""

    situation: str
    emotion_type: str
    problem_type: str
    experience_type: str = ""
    survey_score: Survey = Survey()
    dialog: list[Utterance] = Field(min_length=1)


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, ADDRESS)
    files = files_of(path, NAMES, NAME)
    reading = Reading(files=digests_of(files.values()))
    for meaning, file in files.items():
        split = next((split for split in SPLITS if split == meaning), None)
        if split is None:
            reading.remarks.append(f"{file.name} names no split; each conversation got one by id")
        for _, row in read_rows(file, Conversation, problems):
            turns = conversation(
                Turn(role=ROLES[t.speaker], content=t.text.strip()) for t in row.dialog
            )
            if (place := last_replied(turns)) is None:
                reading.left_out["the supporter never replies"] += 1
                continue
            name = f"esconv-{digest_text(' '.join(t.text for t in row.dialog))[:12]}"
            dialogue = Dialogue(
                id=name, source=NAME, turns=turns[:place], split=split or split_by_id(name)
            )
            reading.items.append(item_of(dialogue, row, turns[place], turns[place + 1 :]))
    return reading


def item_of(dialogue: Dialogue, row: Conversation, reply: Turn, later: list[Turn]) -> Item:
    survey = row.survey_score.seeker
    fields = {
        "emotion": row.emotion_type,
        "situation": row.situation,
        "problem": row.problem_type,
        "experience": row.experience_type,
        "intensity_before": survey.get("initial_emotion_intensity", ""),
        "intensity_after": survey.get("final_emotion_intensity", ""),
        "strategy": strategies_of(last_reply(row.dialog)),
        "strategies": strategies_of(row.dialog),
        "next": as_text(later, "seeker", "supporter"),
    }
    name = dialogue.id
    return Item(
        dialogue,
        Privileged(dialogue_id=name, fields={key: text for key, text in fields.items() if text}),
        (Response(id=f"{name}/human", dialogue_id=name, text=reply.content, author="human"),),
    )


def last_reply(said: Iterable[Utterance]) -> list[Utterance]:
    """What the supporter says in a row, the last time that the seeker has spoken before."""
    runs = [list(run) for _, run in itertools.groupby(said, key=lambda one: one.speaker)]
    return next((run for run in reversed(runs[1:]) if run[0].speaker == "sys"), [])


def strategies_of(said: Iterable[Utterance]) -> str:
    return "; ".join(one.strategy for one in said if one.strategy)
