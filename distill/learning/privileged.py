"""What only a teacher may read, joined to the dialogues of a composed set.

In: a folder that `distill gather` wrote (dialogues, privileged fields), and optionally a folder
of feature sequences. Out: for the messages of a dialogue its id and its fields; the teacher's
prompt. Refused: a folder without privileged fields (MissingInput, BadInput).

Sets carry words and no ids, so dialogues are joined by their words, as in the leak check, and by
their reply where several have the same words. The fields go to a teacher's prompt and to sources
that are dropped after training; a student's prompt is made elsewhere (`masks`), from messages.
"""

import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, read_jsonl, sha256_of
from distill.core.records import Dialogue, Privileged, Response, Turn
from distill.learning.training_sets import Messages
from distill.sets.leaks import Key, key_of
from distill.teaching.prompts import background, conversation, question, read_prompt

DIALOGUES, PRIVILEGED, RESPONSES = "dialogues.jsonl", "privileged.jsonl", "responses.jsonl"
# First what is felt, then what happened, then the rest in the order in which it was written.
FIRST = ("emotion", "feeling", "situation", "cause", "need")
KINDS = (".safetensors", ".npz")
Asking = Literal["reasoning", "notes"]


@dataclass(frozen=True)
class Known:
    """One dialogue's id and privileged fields; empty when nothing is known, or used."""

    dialogue_id: str
    fields: Mapping[str, str]


@dataclass(frozen=True)
class Knowledge:
    """What is known of the dialogues of a gathered folder; `digests` are of its files.

    `replies` are the texts of dialogues whose words others share.
    """

    by_words: Mapping[Key, Sequence[Known]]
    replies: Mapping[str, Collection[str]]
    digests: Mapping[str, str]

    @classmethod
    def read(cls, folder: Path) -> "Knowledge":
        """Dialogues and fields of a gathered folder."""
        dialogues = read_jsonl(folder / DIALOGUES, Dialogue)
        fields = {p.dialogue_id: p.fields for p in read_jsonl(folder / PRIVILEGED, Privileged)}
        if not fields:
            raise BadInput(
                f"{folder}/{PRIVILEGED} is empty; gather a corpus that has privileged fields, or "
                f"ask a teacher for them: distill annotate {folder}"
            )
        by_words: dict[Key, list[Known]] = {}
        for dialogue in dialogues:
            known = Known(dialogue.id, ordered(fields.get(dialogue.id, {})))
            by_words.setdefault(key_of(dialogue.turns), []).append(known)
        shared = {k.dialogue_id for same in by_words.values() if len(same) > 1 for k in same}
        names = [DIALOGUES, PRIVILEGED, *([RESPONSES] if shared else [])]
        return cls(
            by_words,
            replies_of(folder, shared) if shared else {},
            {name: sha256_of(folder / name) for name in names},
        )

    @classmethod
    def none(cls) -> "Knowledge":
        return cls({}, {}, {})

    def of(self, messages: Messages, share: float = 1.0) -> Known:
        """What is known of a dialogue that ends with its reply.

        Of several dialogues with the same words, the one that has this reply, else the first.
        With `share` below 1 the fields of that share of the dialogues are used, chosen by their
        ids: the dialogues of a smaller share are among those of a larger one.
        """
        turns = [Turn(role=m["role"], content=m["content"]) for m in messages[:-1]]  # type: ignore[arg-type]
        same = self.by_words.get(key_of(turns), [Known("", {})])
        reply = messages[-1]["content"]
        known = next((k for k in same if reply in self.replies.get(k.dialogue_id, ())), same[0])
        return known if used(known.dialogue_id, share) else Known(known.dialogue_id, {})


def replies_of(folder: Path, wanted: Collection[str]) -> dict[str, set[str]]:
    """The responses to some dialogues."""
    found: dict[str, set[str]] = {name: set() for name in wanted}
    for response in read_jsonl(folder / RESPONSES, Response):
        if response.dialogue_id in found:
            found[response.dialogue_id].add(response.text)
    return found


def used(dialogue_id: str, share: float) -> bool:
    return share >= 1 or random.Random(f"known/{dialogue_id}").random() < share


def ordered(fields: Mapping[str, str]) -> dict[str, str]:
    """Feelings, then the situation, then the rest."""
    first = {name: fields[name] for name in FIRST if name in fields}
    return {**first, **{name: text for name, text in fields.items() if name not in first}}


def picked(fields: Mapping[str, str], wanted: Sequence[str] | Literal["all"]) -> dict[str, str]:
    return {n: t for n, t in fields.items() if wanted == "all" or n in wanted}


def teacher_messages(messages: Messages, fields: Mapping[str, str], asking: Asking) -> Messages:
    """What the teacher is asked: a dialogue without its last reply, and what is known of it.

    Without fields the same question without a background, for the leakage gauge.
    """
    turns = messages[:-1]
    if asking == "notes":
        talk = [m for m in turns if m["role"] != "system"]
        system = [m["content"] for m in turns if m["role"] == "system"]
        notes = "\n".join([*system, *([background(fields)] if fields else [])])
        return [*([{"role": "system", "content": notes}] if notes else []), *talk]
    parts = {
        "dialogue": conversation(
            Turn(role=m["role"], content=m["content"])  # type: ignore[arg-type]
            for m in turns
        ),
        "privileged": background(fields),
    }
    return [dict(m) for m in question(prompt_name(fields), parts, "").messages()]


def prompt_name(fields: Mapping[str, str]) -> str:
    return "empathize-knowing" if fields else "empathize"


def asking_digest(asking: Asking) -> str:
    """A digest that changes with the words of the prompt."""
    if asking == "notes":
        return digest_text("notes")
    return digest_text("".join(read_prompt(n).text for n in ("empathize-knowing", "empathize")))


def feature_file(folder: Path | None, dialogue_id: str) -> Path | None:
    """The feature sequence of a dialogue, `ID.safetensors` or `ID.npz`; None when it has none.

    Characters of an id that are no file name are percent-encoded.
    """
    if folder is None or not dialogue_id:
        return None
    name = quote(dialogue_id, safe="")
    return next((f for kind in KINDS if (f := folder / f"{name}{kind}").is_file()), None)
