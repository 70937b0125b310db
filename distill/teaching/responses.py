"""Ask a teacher for a reply to every dialogue, with or without its reasoning.

In: a folder that `distill gather` wrote, and a teacher. Out: the same folder with the teacher's
responses: strategy `direct`; `reasoning` where it thought first; `-informed` where it read
privileged fields. A dialogue that has such a response of this teacher is not asked about.
Refused: the test split and what is near to it, fields that no dialogue has (BadInput).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.progress import say
from distill.core.records import Dialogue
from distill.teaching.again import Attempts, attempt_name, read_attempts
from distill.teaching.choosing import Chosen, choose
from distill.teaching.data_folder import DataFolder
from distill.teaching.drafts import Draft, author_of, responses_of
from distill.teaching.options import MAX_WORDS, MaxWords, Service, asks_a_teacher
from distill.teaching.parsing import json_texts, plain_reply
from distill.teaching.prompts import background, conversation, question
from distill.teaching.steps import Finished, Steps, Task
from distill.teaching.strategies import STAND_IN
from distill.teaching.work import Job, Phase, carry_out

DIRECT = "direct"
REASONED = ("feelings", "situation", "reply")
REASONED_STAND_IN = (
    f'{{"feelings": "{STAND_IN}", "situation": "{STAND_IN}", "reply": "{STAND_IN}"}}'
)


@dataclass(frozen=True)
class Manner:
    """How a teacher answers: at once or after reasoning, with which privileged fields."""

    reasoning: bool = False
    fields: tuple[str, ...] = ()
    max_words: int = MAX_WORDS

    @property
    def strategy(self) -> str:
        name = "reasoning" if self.reasoning else DIRECT
        return f"{name}-informed" if self.fields else name

    @property
    def prompt(self) -> str:
        name = "reason" if self.reasoning else "respond"
        return f"{name}-knowing" if self.fields else name


def answering(dialogue: Dialogue, manner: Manner, known: Mapping[str, str]) -> Steps[Draft]:
    """One question; reasoning and reply are kept apart."""
    parts = {
        "dialogue": conversation(dialogue.turns),
        "privileged": background({name: known[name] for name in manner.fields}),
        "max_words": str(manner.max_words),
    }
    stand_in = REASONED_STAND_IN if manner.reasoning else STAND_IN
    answer = yield question(manner.prompt, parts, stand_in)
    if not manner.reasoning:
        return Draft(dialogue.id, manner.strategy, plain_reply(answer))
    said = json_texts(answer, REASONED)
    thought = f"Feelings: {said['feelings']}\nSituation: {said['situation']}"
    return Draft(dialogue.id, manner.strategy, plain_reply(said["reply"]), thought)


def responding(
    dialogues: Sequence[Dialogue], manner: Manner, service: Service, attempts: Attempts
) -> Phase[Draft]:
    """A response in this manner for every dialogue that has none."""
    author = author_of(service.teacher)

    def tasks(folder: DataFolder) -> list[Task[Draft]]:
        due = []
        for dialogue in dialogues:
            stem = f"{dialogue.id}/{author}/{manner.strategy}"
            attempt = attempts.due(stem, [one.id for one in folder.responses[dialogue.id]])
            if attempt is not None:
                steps = answering(dialogue, manner, folder.fields_of(dialogue))
                due.append(Task(attempt_name(stem, attempt), steps, service.sampling(attempt)))
        return due

    def merged(folder: DataFolder, finished: Sequence[Finished[Draft]]) -> DataFolder:
        return folder.with_responses(responses_of(finished, author))

    return Phase(tasks, merged)


def knowing(folder: DataFolder, chosen: Chosen, fields: Sequence[str]) -> list[Dialogue]:
    """The chosen dialogues that have every field; the others are counted and left out."""
    kept = [one for one in chosen.dialogues if set(fields) <= set(folder.fields_of(one))]
    if fields and not kept:
        raise BadInput(
            f"no dialogue has {' and '.join(fields)}; write them with: distill annotate, or name "
            "others with --with"
        )
    if lacking := len(chosen.dialogues) - len(kept):
        say(f"left out, without {' or '.join(fields)}: {lacking} dialogues")
    return kept


def listed(names: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name.strip() for name in names.split(","))) if names else ()


@command
@asks_a_teacher
def run(
    data: Annotated[Path, typer.Argument(help="A folder that `distill gather` wrote.")],
    service: Service,
    reasoning: Annotated[
        bool, typer.Option("--reasoning", help="Understand, analyse, then answer; kept apart.")
    ] = False,
    fields: Annotated[
        str | None,
        typer.Option("--with", help="Privileged fields that the teacher may read: emotion,need."),
    ] = None,
    max_words: MaxWords = MAX_WORDS,
) -> Outcome:
    """Ask a teacher for a reply to every dialogue; asks nothing twice, whenever it is stopped."""
    folder = DataFolder.read(data)
    attempts = read_attempts(service.again, folder.refusals)
    chosen = choose(folder.dialogues, service.split, service.shard, service.limit)
    manner = Manner(reasoning, listed(fields), max_words)
    phase = responding(knowing(folder, chosen, manner.fields), manner, service, attempts)
    said = {"strategy": manner.strategy, "fields": list(manner.fields)}
    return carry_out(Job("teach responses", folder, chosen, [phase], said), service)
