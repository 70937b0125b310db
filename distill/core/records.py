"""The records that stages exchange: pure values, one JSON object a line.

Every record refuses unknown and missing fields. `Privileged` is a record of its own, and no
function that builds a student's prompt accepts one.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "valid", "test"]
SPLITS: tuple[Split, ...] = ("train", "valid", "test")


class Record(BaseModel):
    """A frozen value without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(Record):
    """One message."""

    role: Role
    content: str = Field(min_length=1)

    def message(self) -> dict[str, str]:
        return {"role": self.role, "content": self.content}


class Dialogue(Record):
    """All that a student may ever see: the turns, ending with the user's."""

    id: str
    source: str
    turns: list[Turn] = Field(min_length=1)
    split: Split

    def messages(self) -> list[dict[str, str]]:
        return [turn.message() for turn in self.turns]


class Privileged(Record):
    """What only a teacher may read: emotion, situation, feeling, cause, need, next, annotations."""

    dialogue_id: str
    fields: dict[str, str]


class Response(Record):
    """A reply to a dialogue, by a person or a model; `rating` is 1 bad, 2 okay, 3 good.

    `author_version` is what the service said it used, `reasoning` what a teacher thought before
    it answered. `prompt` and `prompt_digest` join the names and digests of several steps by "+".
    """

    id: str
    dialogue_id: str
    text: str = Field(min_length=1)
    author: str
    author_version: str | None = None
    strategy: str | None = None
    improves: str | None = None
    prompt: str | None = None
    prompt_digest: str | None = None
    reasoning: str | None = None
    rating: int | None = Field(default=None, ge=1, le=3)


class Refusal(Record):
    """Why a response was left out."""

    response_id: str
    rule: str
    reason: str


class Preference(Record):
    """A pair for preference training; both texts answer the same dialogue."""

    dialogue: Dialogue
    chosen: str
    rejected: str
    because: str


class Answer(Record):
    """What a candidate said to a held-out dialogue, and how fast."""

    dialogue_id: str
    candidate: str
    text: str
    artifact_sha256: str
    first_token_s: float
    tokens_per_s: float
    tokens: int
    finish_reason: str


Side = Literal["first", "second", "tie", "unreadable"]


class Verdict(Record):
    """Which of two answers was better; absence is never scored."""

    side: Side

    def swapped(self) -> "Verdict":
        flip: dict[Side, Side] = {"first": "second", "second": "first"}
        return Verdict(side=flip.get(self.side, self.side))


class Judgement(Record):
    """One verdict of one judge on one ordered pair, as it was given."""

    dialogue_id: str
    judge: str
    judge_version: str
    rubric: str
    rubric_digest: str
    first: str
    second: str
    verdict: Verdict
    raw: str
