"""The prompts, Markdown files under `distill/prompts/`, and how they are filled.

In: a name and the material by placeholder. Out: `Question`, one user message with its prompt's
digest. Refused: a placeholder without material (KeyError: a mistake of ours). What people wrote
is put in as it is: its braces are no placeholders, and it cannot close the tag that it stands in.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from distill.core.chat import Messages
from distill.core.jsonl import digest_text
from distill.core.records import Turn

PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
TAG = re.compile(r"<(/?\s*(?:conversation|reply|background)\s*)>", re.IGNORECASE)


@dataclass(frozen=True)
class Prompt:
    """A prompt as it is on the disk; `digest` is the sha256 of its text."""

    name: str
    text: str
    digest: str


@dataclass(frozen=True)
class Question:
    """A filled prompt; `stand_in` is what a dry run takes for its answer."""

    prompt: Prompt
    text: str
    stand_in: str

    def messages(self) -> Messages:
        return [{"role": "user", "content": self.text}]


@cache
def read_prompt(name: str) -> Prompt:
    text = resources.files("distill").joinpath("prompts", f"{name}.md").read_text("utf-8")
    return Prompt(name, text, digest_text(text))


def question(name: str, parts: Mapping[str, str], stand_in: str) -> Question:
    """Fill every placeholder of a prompt in one pass, so that nothing is filled twice."""
    prompt = read_prompt(name)
    return Question(prompt, PLACEHOLDER.sub(lambda found: parts[found[1]], prompt.text), stand_in)


def conversation(turns: Iterable[Turn]) -> str:
    """One line a turn."""
    return "\n".join(f"{turn.role}: {quoted(turn.content)}" for turn in turns)


def background(fields: Mapping[str, str]) -> str:
    """One line a privileged field."""
    return "\n".join(f"{name}: {quoted(text)}" for name, text in fields.items())


def quoted(text: str) -> str:
    return TAG.sub("\u2039\\1\u203a", " ".join(text.split()))
