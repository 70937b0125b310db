"""What a teacher's text says, read strictly.

In: the text of a reply. Out: the answer alone, or the texts of a JSON object by key. Refused:
whatever is not exactly that (Unreadable, an outcome of its own: counted and listed, never
guessed at).
"""

import json
import re
from collections.abc import Sequence

THOUGHT = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
FENCED = re.compile(r"\A```(?:json)?\s*\n(.*)\n\s*```\Z", re.DOTALL)
QUOTES = {'"': '"', "\u201c": "\u201d"}


class Unreadable(ValueError):
    """A finished answer that does not have the form that was asked for."""


def spoken(text: str) -> str:
    """The text without the thoughts that some local models write in front of it."""
    said = THOUGHT.sub("", text).strip()
    if said.startswith("<think>"):
        raise Unreadable("the thoughts never end")
    return said


def plain_reply(text: str) -> str:
    """A reply; one pair of quotation marks around the whole is not part of it."""
    said = spoken(text)
    if len(said) > 2 and QUOTES.get(said[0]) == said[-1]:
        inner = said[1:-1].strip()
        said = said if set(inner) & {said[0], said[-1]} else inner
    if not said:
        raise Unreadable("nothing was said")
    return said


def json_texts(text: str, keys: Sequence[str]) -> dict[str, str]:
    """The texts of a JSON object that has exactly these keys, with or without a code fence."""
    said = spoken(text)
    fenced = FENCED.match(said)
    try:
        found = json.loads(fenced[1] if fenced else said)
    except ValueError as error:
        raise Unreadable(f"no JSON object alone ({error})") from error
    if not isinstance(found, dict) or set(found) != set(keys):
        raise Unreadable(f"not an object with exactly the keys {', '.join(keys)}")
    bad = [key for key in keys if not isinstance(found[key], str) or not found[key].strip()]
    if bad:
        raise Unreadable(f"{bad[0]} is no text")
    return {key: found[key].strip() for key in keys}
