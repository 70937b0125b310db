"""What a stand-in says: a short empathetic reply that the request's digest decides.

In: the text of a request, its digest. Out: a reply; the reply that the request shows, with a
sentence more; JSON with the fields that the request names; a verdict where the request shows two
replies and a code. There is no model behind it.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

OPENINGS = (
    "That sounds really hard.",
    "I can hear how much this matters to you.",
    "Thank you for telling me this.",
    "Oh, I can see why that stays with you.",
    "It makes sense that you feel this way.",
    "That must have been a lot to take in.",
    "I am glad that you said it out loud.",
    "No wonder this has been on your mind.",
)
MIDDLES = (
    "Anyone who cares as you do would be shaken by it.",
    "You had hoped for something else, and that hurts.",
    "There is so much in it at once, and it does not have to be sorted out today.",
    "You kept going although it took more than anyone saw.",
    "It says something good about you that you did not just shrug it off.",
    "Being left alone with it would make it heavier still.",
    "A moment like that changes how the whole week feels.",
    "You were trying to do right by everyone, yourself last.",
)
CLOSINGS = (
    "What part of it is the heaviest right now?",
    "How are you holding up today?",
    "Do you want to tell me how it began?",
    "What would feel like a small relief tonight?",
    "Who is there for you while this goes on?",
    "What went through your mind at that moment?",
    "I am here, and there is no hurry.",
    "Whatever you feel about it is allowed here.",
)
FIELDS: Mapping[str, Sequence[str]] = {
    "feeling": ("worn out and a little ashamed", "proud and relieved", "lonely", "anxious"),
    "emotion": ("sadness", "joy", "fear", "anger"),
    "cause": ("it came without warning", "nobody noticed the effort", "plans fell apart"),
    "need": ("to be heard first", "someone who shares the joy", "a calm next step"),
    "next": ("they will call a friend", "they will sleep on it", "they will say how it went"),
    "situation": ("a hard week that ended badly", "good news after a long wait"),
    "weakest": ("cognitive", "affective", "compassionate"),
    "dimension": ("cognitive", "affective", "compassionate"),
    "verdict": ("first", "second", "tie"),
    "winner": ("first", "second", "tie"),
}
REPLY = re.compile(r"<reply>\s*(.*?)\s*</reply>", re.DOTALL)
OBJECT = re.compile(r"\bJSON\b[^{}]{0,600}\{([^{}]*)\}")
SHAPE = re.compile(r'"([A-Za-z_][\w-]*)"\s*:\s*(\S)')
NAMED = re.compile(r'["`“]([A-Za-z_][\w-]*)["`”]')
SENTENCE = re.compile(r"[^.\n]*\bJSON\b[^.\n]*")
VERDICT = re.compile(r"Verdict ([0-9a-zA-Z]+):")
PIECE = re.compile(r"\s*\S+")


@dataclass(frozen=True)
class Asked:
    """One request in the terms of neither service; `schema` where it demands JSON of a form."""

    model: str
    texts: Sequence[str]
    digest: str
    max_tokens: int | None = None
    schema: Mapping[str, Any] | None = None

    @property
    def prompt_tokens(self) -> int:
        return sum(len(pieces(text)) for text in self.texts)


def answer(asked: Asked) -> str:
    whole = "\n".join(asked.texts)
    if codes := VERDICT.findall(whole):
        return f"One reply stays closer to what was said.\nVerdict {codes[-1]}: {side(whole)}"
    if names := wanted_fields(asked.schema, whole):
        values = {name: value(name, kind, asked.digest) for name, kind in names.items()}
        return json.dumps(values, ensure_ascii=False)
    if shown := REPLY.findall(whole):
        return f"{shown[-1]} {picked(CLOSINGS, asked.digest)}"
    return sentence(asked.digest)


def sentence(digest: str) -> str:
    return " ".join(
        picked(of, f"{digest}{i}") for i, of in enumerate((OPENINGS, MIDDLES, CLOSINGS))
    )


def wanted_fields(schema: Mapping[str, Any] | None, text: str) -> dict[str, str]:
    """Names and kinds (`text`, `number`) of the fields that a request wants, in its order."""
    if schema and isinstance(schema.get("properties"), Mapping):
        kinds = {name: str(form.get("type", "")) for name, form in schema["properties"].items()}
        numbers = {"integer", "number"}
        return {n: "number" if k.lower() in numbers else "text" for n, k in kinds.items()}
    if shown := OBJECT.search(text):
        pairs = SHAPE.findall(shown[1])
        return {name: "number" if first.isdigit() else "text" for name, first in pairs}
    sentence = SENTENCE.search(text)
    return dict.fromkeys(NAMED.findall(sentence[0]), "text") if sentence else {}


def value(name: str, kind: str, digest: str) -> str | int:
    if kind == "number":
        return 1 + number(f"{digest}{name}") % 3
    known = next((FIELDS[key] for key in FIELDS if key in name.lower()), None)
    return picked(known, f"{digest}{name}") if known else sentence(f"{digest}{name}")


def side(text: str) -> str:
    """The same reply wins in both orders, and equal replies tie."""
    shown = {
        tag: re.search(rf"<{tag}-\w+>(.*?)</{tag}-", text, re.S) for tag in ("first", "second")
    }
    ranks = {tag: number(found.group(1).strip()) if found else 0 for tag, found in shown.items()}
    if ranks["first"] == ranks["second"]:
        return "tie"
    return max(ranks, key=lambda tag: ranks[tag])


def pieces(text: str) -> list[str]:
    """A stand-in's tokens: words with the space before them."""
    return PIECE.findall(text)


def picked(options: Sequence[str], digest: str) -> str:
    return options[number(digest) % len(options)]


def number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7])
