"""The dialogue text on which a file is compared with its checkpoint.

In: JSON lines, each a Dialogue or an object with `messages`; without a file, the bundled
conversations. Out: message lists, spread evenly over the file. Refused: broken lines, all named
at once, and a file without any conversation (BadInput).
"""

import unicodedata
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from distill.core.errors import BadInput
from distill.core.jsonl import Problems, numbered_lines, plain_reason
from distill.core.records import Dialogue, Turn

Messages = list[dict[str, str]]
MOST_CONVERSATIONS = 48


class Conversation(BaseModel):
    """A training or chat line; fields beside `messages` do not matter here."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    messages: list[Turn] = Field(min_length=1)


def bundled() -> list[Messages]:
    """Ours: one word, many turns, emoji, other scripts, special tokens typed by a person."""
    return read(Path(str(resources.files("export").joinpath("conversations.jsonl"))))


def read(path: Path) -> list[Messages]:
    found: list[Messages] = []
    problems = Problems()
    for number, value in numbered_lines(path):
        try:
            found.append(messages_of(value))
        except ValueError as error:
            problems.add(f"{path}:{number}: {plain_reason(error)}")
    problems.refuse()
    if not found:
        raise BadInput(f"{path} holds no conversation; give held-out dialogues with --text")
    return found


def messages_of(value: Any) -> Messages:
    if isinstance(value, ValueError):
        raise value
    if isinstance(value, dict) and "turns" in value:
        return Dialogue.model_validate(value).messages()
    return [turn.message() for turn in Conversation.model_validate(value).messages]


def spread(conversations: Sequence[Messages], most: int = MOST_CONVERSATIONS) -> list[Messages]:
    """At most `most` of them, evenly spaced, so that an ordered file is not judged by its head."""
    step = max(1.0, len(conversations) / most)
    return [conversations[int(i * step)] for i in range(min(most, len(conversations)))]


def normalized(messages: Messages, form: Any) -> Messages:
    """The messages in a Unicode form (`NFC`), or as they are with None."""
    if form is None:
        return messages
    return [m | {"content": unicodedata.normalize(form, m["content"])} for m in messages]
