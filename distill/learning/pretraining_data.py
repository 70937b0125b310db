"""Token documents for pretraining, from gathered talk, the starter and the curriculum.

In: a folder of `distill gather empathetic-dialogues` and a tokenizer. Out: `Source` documents
and the held-out listener turns that bits per byte are counted on.

Two kinds of document carry a note, as a system message. A `noted` one opens with the situation, so
that the talk that follows takes it up. A `heard` one ends, after what the person said, with the
feeling and what happened, so that the model learns to listen without being shown how to answer.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Privileged, Response, Turn
from distill.corpora.curriculum.echo import echo
from distill.corpora.curriculum.generate import examples
from distill.corpora.starter import read_starter
from distill.learning.tokenizer import END

Document = list[int]
Scored = tuple[Document, list[int], int]


class Talk:
    """Gathered conversations with their last reply and their situation."""

    def __init__(self, folder: Path) -> None:
        self.dialogues = read_jsonl(folder / "dialogues.jsonl", Dialogue)
        notes = read_jsonl(folder / "privileged.jsonl", Privileged)
        responses = read_jsonl(folder / "responses.jsonl", Response)
        self.situation = {n.dialogue_id: n.fields.get("situation", "") for n in notes}
        self.emotion = {n.dialogue_id: n.fields.get("emotion", "") for n in notes}
        self.last = {r.dialogue_id: r.text for r in responses if r.author == "human"}

    def turns(self, dialogue: Dialogue) -> list[Turn]:
        last = self.last.get(dialogue.id)
        return [*dialogue.turns, *([Turn(role="assistant", content=last)] if last else [])]

    def of(self, *splits: str) -> list[Dialogue]:
        return [d for d in self.dialogues if d.split in splits]


class Encoder:
    """Turns into tokens, as the chat template writes them."""

    def __init__(self, tokenizer: Any) -> None:
        self.text: Callable[[str], Document] = lambda text: tokenizer.encode(
            text, add_special_tokens=False
        )
        self.role = {
            role: tokenizer.convert_tokens_to_ids(f"<|{role}|>")
            for role in ("system", "user", "assistant")
        }
        self.end = tokenizer.convert_tokens_to_ids(END)

    def __call__(self, turns: Iterable[Turn], note: str = "") -> Document:
        turns = [*([Turn(role="system", content=note)] if note else []), *turns]
        return [
            token
            for turn in turns
            for token in (self.role[turn.role], *self.text(turn.content), self.end)
        ]

    def scored(self, turns: Sequence[Turn]) -> Scored:
        """Tokens, the positions of the listener's text, and its bytes."""
        document: Document = []
        positions: list[int] = []
        size_bytes = 0
        for turn in turns:
            document.append(self.role[turn.role])
            tokens = self.text(turn.content)
            if turn.role == "assistant":
                positions.extend(range(len(document), len(document) + len(tokens)))
                size_bytes += len(turn.content.encode())
            document.extend([*tokens, self.end])
        return document, positions, size_bytes


def tokenizer_texts(talk: Talk) -> Iterator[str]:
    """What the vocabulary is learnt from: the training split of the talk, and the starter."""
    for dialogue in talk.of("train"):
        yield talk.situation.get(dialogue.id, "")
        yield from (turn.content for turn in talk.turns(dialogue))
    for item in read_starter():
        yield from (turn.content for turn in item.dialogue.turns)
        yield from (response.text for response in item.responses)


def documents(
    talk: Talk, encode: Encoder, curriculum_dialogues: int, seed: int
) -> dict[str, list[Document]]:
    """The sources a recipe's mix may name. Only plain replies: empathy is for the student."""
    train = talk.of("train")
    made = list(itertools.islice(examples(seed, "train"), curriculum_dialogues))
    return {
        "dialogues": [encode(talk.turns(d)) for d in train],
        "noted": [encode(talk.turns(d), talk.situation.get(d.id, "")) for d in train],
        "heard": [
            *(
                encode(heard(d.turns[:1], talk.emotion.get(d.id, ""), talk.situation.get(d.id, "")))
                for d in train
            ),
            *(encode(heard(e.turns, e.emotion, e.heard)) for e in made),
        ],
        "starter": [
            encode([*s.dialogue.turns, Turn(role="assistant", content=s.response("plain").text)])
            for s in read_starter()
            if s.dialogue.split == "train"
        ],
        "curriculum": [
            encode(
                [*e.turns, Turn(role="assistant", content=e.replies["plain"])],
                e.privileged["situation"] if index % 4 == 0 else "",
            )
            for index, e in enumerate(made)
        ],
    }


def heard(turns: Sequence[Turn], emotion: str, what: str) -> list[Turn]:
    """What a person said, and then the feeling and what happened, as a note to them."""
    return [*turns, Turn(role="system", content=f"{emotion}: {echo(what) or what}")]
