"""Improve responses by targeted empathy improvement (arXiv 2507.08151).

In: a folder that `distill gather` or `distill teach` wrote, and a teacher. Out: the same folder
with improved responses; `improves` names the original. Over `human`: the rated responses of
people (all of ratings 1, 2, 3 by default: 1 and 2 for preferences, 3 for imitation). Over `llm`:
the teacher's own direct response, asked for first where there is none. Refused: a strategy that
is not known, the test split and what is near to it, no response to improve (BadInput).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.records import Dialogue, Response
from distill.sets.rules import HUMAN
from distill.teaching.again import Attempts, attempt_name, parted, read_attempts
from distill.teaching.choosing import choose
from distill.teaching.data_folder import DataFolder
from distill.teaching.drafts import Draft, author_of, responses_of
from distill.teaching.options import MAX_WORDS, MaxWords, Service, asks_a_teacher
from distill.teaching.responses import DIRECT, Manner, responding
from distill.teaching.steps import Finished, Steps, Task
from distill.teaching.strategies import STRATEGIES, Material, strategy
from distill.teaching.work import Job, Phase, carry_out

OVER = (HUMAN, "llm")
RATINGS = (1, 2, 3)
Originals = Callable[[Sequence[Response]], list[Response]]


@dataclass(frozen=True)
class Aim:
    """What is improved, and how."""

    strategies: Sequence[str]
    over: str
    ratings: Sequence[int] = RATINGS
    max_words: int = MAX_WORDS


def improving(name: str, dialogue: Dialogue, original: Response, max_words: int) -> Steps[Draft]:
    """The steps of a strategy over one response."""
    material = Material(dialogue.turns, original.text, max_words)
    text = yield from strategy(name).improve(material)
    return Draft(dialogue.id, name, text, improves=original.id)


def improvements(
    dialogues: Sequence[Dialogue],
    aim: Aim,
    originals: Originals,
    service: Service,
    attempts: Attempts,
) -> Phase[Draft]:
    """Every strategy over every original that it has not improved yet."""
    author = author_of(service.teacher)

    def tasks(folder: DataFolder) -> list[Task[Draft]]:
        due = []
        for dialogue in dialogues:
            responses = folder.responses[dialogue.id]
            present = [one.id for one in responses]
            for original in originals(responses):
                for name in aim.strategies:
                    stem = f"{original.id}/{author}/{name}"
                    if (attempt := attempts.due(stem, present)) is not None:
                        steps = improving(name, dialogue, original, aim.max_words)
                        sampling = service.sampling(attempt)
                        due.append(Task(attempt_name(stem, attempt), steps, sampling))
        return due

    def merged(folder: DataFolder, finished: Sequence[Finished[Draft]]) -> DataFolder:
        return folder.with_responses(responses_of(finished, author))

    return Phase(tasks, merged)


def rated_by_people(ratings: Sequence[int]) -> Originals:
    def originals(responses: Sequence[Response]) -> list[Response]:
        return [one for one in responses if one.author == HUMAN and one.rating in ratings]

    return originals


def own_direct(author: str) -> Originals:
    """The teacher's latest direct response."""

    def originals(responses: Sequence[Response]) -> list[Response]:
        mine = [one for one in responses if one.author == author and one.strategy == DIRECT]
        return sorted(mine, key=lambda one: parted(one.id)[1])[-1:]

    return originals


def phases_of(
    folder: DataFolder,
    dialogues: Sequence[Dialogue],
    aim: Aim,
    service: Service,
    attempts: Attempts,
) -> list[Phase[Draft]]:
    if aim.over not in OVER:
        raise BadInput(f"--over {aim.over}: choose of: {', '.join(OVER)}")
    if aim.over == HUMAN:
        originals = rated_by_people(aim.ratings)
        if not any(originals(folder.responses[one.id]) for one in dialogues):
            rated = ", ".join(map(str, aim.ratings))
            raise BadInput(
                f"no response of a person is rated {rated} here; gather rated-responses, or "
                "improve the teacher's own with --over llm"
            )
        return [improvements(dialogues, aim, originals, service, attempts)]
    own = own_direct(author_of(service.teacher))
    return [
        responding(dialogues, Manner(max_words=aim.max_words), service, attempts),
        improvements(dialogues, aim, own, service, attempts),
    ]


@command
@asks_a_teacher
def run(
    data: Annotated[Path, typer.Argument(help="A folder with dialogues and responses.")],
    service: Service,
    strategies: Annotated[
        list[str],
        typer.Option(
            "--strategy",
            help="; ".join(f"{name}: {one.help}" for name, one in STRATEGIES.items())
            + ". Again for more.",
            autocompletion=offered(STRATEGIES),
        ),
    ],
    over: Annotated[
        str,
        typer.Option(
            help="Whose responses: human, or the teacher's own, llm.",
            autocompletion=offered(OVER),
        ),
    ],
    rating: Annotated[
        list[int], typer.Option(min=1, max=3, help="With human: those of this rating, again.")
    ] = list(RATINGS),  # noqa: B006
    max_words: MaxWords = MAX_WORDS,
) -> Outcome:
    """Ask a teacher to improve responses by a strategy; asks nothing twice."""
    aim = Aim(list(dict.fromkeys(strategies)), over, rating, max_words)
    for name in aim.strategies:
        strategy(name)
    folder = DataFolder.read(data)
    attempts = read_attempts(service.again, folder.refusals)
    chosen = choose(folder.dialogues, service.split, service.shard, service.limit)
    phases = phases_of(folder, chosen.dialogues, aim, service, attempts)
    ratings = {"ratings": rating} if over == HUMAN else {}
    said = {"strategies": aim.strategies, "over": over, **ratings}
    return carry_out(Job("improve", folder, chosen, phases, said), service)
