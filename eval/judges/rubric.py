"""What a chat model is asked to judge by, and how the material is shown to it.

In: the name of a rubric or a file of one's own; the turns and two replies. Out: the rubric with the
form of its verdict, and the prompt. Refused: a rubric that is not there (BadInput).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from distill.core.chat import Messages
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text

RUBRICS = ("empathy", "cognitive", "affective", "compassionate", "safety", "xie2025")
FORMS: Mapping[bool, str] = {True: "verdict", False: "verdict_without_tie"}
# 64 bits: to write its own code into a reply, one would have to try as many replies.
CODE_LENGTH = 16


@dataclass(frozen=True)
class Rubric:
    """The words that a judge reads before the material; `sides` are the verdicts it may give."""

    name: str
    text: str
    sides: tuple[str, ...]

    @property
    def digest(self) -> str:
        return digest_text(self.text)

    def code(self, turns: Messages, first: str, second: str) -> str:
        """What tags and verdict carry: the same for the same material, and in none of it."""
        material = [self.digest, [dict(turn) for turn in turns], first, second]
        return digest_text(json.dumps(material, ensure_ascii=False))[:CODE_LENGTH]

    def prompt(self, turns: Messages, first: str, second: str) -> str:
        """The rubric, then every turn and reply in tags that nothing inside can close."""
        code = self.code(turns, first, second)
        talk = "\n".join(fenced(turn["role"], code, turn["content"]) for turn in turns)
        parts = {"conversation": talk, "first": first, "second": second}
        shown = [fenced(tag, code, text) for tag, text in parts.items()]
        last = f"Your last line begins: Verdict {code}:"
        return "\n\n".join([f"{self.text}\nCODE: {code}", *shown, last])


def fenced(tag: str, code: str, text: str) -> str:
    return f"<{tag}-{code}>\n{text}\n</{tag}-{code}>"


def read_rubric(name: str, *, ties: bool = True) -> Rubric:
    """A rubric of the package by name, or one's own by the path of a Markdown file."""
    own = Path(name)
    if name in RUBRICS:
        text = shipped(name)
    elif own.suffix == ".md" and own.is_file():
        text = own.read_text("utf-8")
    else:
        raise BadInput(
            f"there is no rubric {name!r}; choose one of: {', '.join(RUBRICS)}, or name a "
            "Markdown file of your own"
        )
    sides = ("first", "second", "tie") if ties else ("first", "second")
    return Rubric(own.stem, f"{text.rstrip()}\n\n{shipped(FORMS[ties])}", sides)


def shipped(name: str) -> str:
    return resources.files("eval").joinpath("rubrics", f"{name}.md").read_text("utf-8")
