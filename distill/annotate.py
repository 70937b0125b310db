"""Ask a teacher for the privileged fields that dialogues lack.

In: a folder that `distill gather` wrote, and a teacher. Out: the same folder with feeling, cause,
need and next (or others of FIELDS) in `privileged.jsonl`; fields that are there stay as they
are. Refused: fields that the prompt does not explain, the test split and what is near to it
(BadInput); an answer that is no such JSON object is an outcome of its own, counted and listed.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.records import Dialogue
from distill.teaching.again import Attempts, attempt_name, read_attempts
from distill.teaching.choosing import choose
from distill.teaching.data_folder import DataFolder
from distill.teaching.options import Service, asks_a_teacher
from distill.teaching.parsing import json_texts
from distill.teaching.prompts import conversation, question
from distill.teaching.responses import listed
from distill.teaching.steps import Finished, Steps, Task
from distill.teaching.work import Job, Phase, carry_out

FIELDS = ("emotion", "situation", "feeling", "cause", "need", "next")
DEFAULT = "feeling,cause,need,next"


@dataclass(frozen=True)
class Notes:
    """What a teacher reads in a dialogue, by field."""

    dialogue_id: str
    fields: dict[str, str]


def annotating(dialogue: Dialogue, wanted: Sequence[str]) -> Steps[Notes]:
    keys = json.dumps(dict.fromkeys(wanted, "your answer"))
    parts = {"dialogue": conversation(dialogue.turns), "keys": keys}
    stand_in = json.dumps(dict.fromkeys(wanted, "They miss somebody who has always been there."))
    answer = yield question("annotate", parts, stand_in)
    return Notes(dialogue.id, json_texts(answer, wanted))


def annotations(
    dialogues: Sequence[Dialogue], wanted: Sequence[str], service: Service, attempts: Attempts
) -> Phase[Notes]:
    def tasks(folder: DataFolder) -> list[Task[Notes]]:
        due = []
        for dialogue in dialogues:
            lacking = [name for name in wanted if name not in folder.fields_of(dialogue)]
            if lacking:
                stem = f"{dialogue.id}/annotation"
                attempt = attempts.due(stem, ()) or 1
                steps = annotating(dialogue, lacking)
                due.append(Task(attempt_name(stem, attempt), steps, service.sampling(attempt)))
        return due

    def merged(folder: DataFolder, finished: Sequence[Finished[Notes]]) -> DataFolder:
        return folder.with_fields({one.value.dialogue_id: one.value.fields for one in finished})

    return Phase(tasks, merged)


@command
@asks_a_teacher
def run(
    data: Annotated[Path, typer.Argument(help="A folder that `distill gather` wrote.")],
    service: Service,
    fields: Annotated[
        str, typer.Option(help=f"What to ask for where it is lacking, of: {', '.join(FIELDS)}.")
    ] = DEFAULT,
) -> Outcome:
    """Ask a teacher for the privileged fields that dialogues lack; asks nothing twice."""
    wanted = listed(fields)
    if unknown := [name for name in wanted if name not in FIELDS]:
        raise BadInput(f"--fields {unknown[0]}: choose of: {', '.join(FIELDS)}")
    folder = DataFolder.read(data)
    attempts = read_attempts(service.again, folder.refusals)
    chosen = choose(folder.dialogues, service.split, service.shard, service.limit)
    phase = annotations(chosen.dialogues, wanted, service, attempts)
    said = {"fields": list(wanted)}
    return carry_out(Job("annotate", folder, chosen, [phase], said), service)
