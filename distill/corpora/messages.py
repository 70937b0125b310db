"""Any JSON lines with OpenAI-style `messages`: the door for data of your own.

In: a file; each row has `messages` (roles system, developer, user, assistant; content a text or
a list of text parts) and may have `id`, `conversation_id` and `split`. Out: one dialogue a row
that ends with the user's last turn; an assistant's message after it is a response. Rows that
hold the same dialogue are joined. Without an `id` the content names the dialogue; without a
`split` it follows from `conversation_id`, or else the id. Refused: rows that do not fit.
"""

from typing import Literal

from pydantic import BaseModel, Field, field_validator

from distill.core.errors import BadInput
from distill.core.jsonl import Problems, digest_text
from distill.core.records import Dialogue, Response, Role, Split, Turn
from distill.corpora.item import Item, split_by_id
from distill.corpora.reading import (
    Reading,
    Request,
    conversation,
    digests_of,
    read_rows,
    required_path,
)
from distill.corpora.shelf import Shelf

NAME = "messages"
HINT = 'each line an object like {"messages": [{"role": "user", "content": "..."}]}'
ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


class Message(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str

    @field_validator("content", mode="before")
    @classmethod
    def joined(cls, content: object) -> object:
        if not isinstance(content, list):
            return content
        return "".join(TextPart.model_validate(part).text for part in content)

    @field_validator("content")
    @classmethod
    def said(cls, content: str) -> str:
        if not content.strip():
            raise ValueError("is empty")
        return content.strip()


class MessagesRow(BaseModel):
    """One row; other fields are not read."""

    messages: list[Message] = Field(min_length=1)
    id: str | None = None
    conversation_id: str | None = None
    split: Split | None = None

    @field_validator("messages")
    @classmethod
    def asked(cls, messages: list[Message]) -> list[Message]:
        if not any(message.role == "user" for message in messages):
            raise ValueError("no message of the user")
        return messages


def read(request: Request, problems: Problems) -> Reading:
    path = required_path(request, NAME, HINT)
    if not path.is_file():
        raise BadInput(f"{path} is a folder; name one file of JSON lines: messages=FILE")
    shelf = Shelf()
    for number, row in read_rows(path, MessagesRow, problems):
        item = item_of(row)
        if (found := shelf.find(item.dialogue.id)) is None:
            shelf.append(item)
        elif found[1].dialogue != item.dialogue:
            problems.add(f"{path}:{number}: id {item.dialogue.id} is that of another dialogue")
        else:
            shelf.put(found[0], joined(found[1], item))
    return Reading(shelf, digests_of([path]))


def item_of(row: MessagesRow) -> Item:
    turns = conversation(Turn(role=ROLES[m.role], content=m.content) for m in row.messages)
    reply = turns.pop() if turns[-1].role == "assistant" else None
    name = row.id or f"messages-{digest_text(repr([t.message() for t in turns]))[:12]}"
    split = row.split or split_by_id(row.conversation_id or name)
    return Item(
        Dialogue(id=name, source=NAME, turns=turns, split=split),
        None,
        (response_of(name, reply.content),) if reply else (),
    )


def response_of(name: str, text: str) -> Response:
    return Response(
        id=f"{name}/{digest_text(text)[:8]}", dialogue_id=name, text=text, author="assistant"
    )


def joined(known: Item, item: Item) -> Item:
    """One dialogue with the responses of both rows, each text once."""
    responses = {response.id: response for response in (*known.responses, *item.responses)}
    return Item(known.dialogue, None, tuple(responses.values()))
