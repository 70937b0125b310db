"""Questions that build on each other, asked for many dialogues side by side.

In: `Task`s, each a generator that yields questions and is sent their answers, and a function that
answers. Out: `Finished` with what the generator returned, or `Unanswered` with the reason. Every
round asks the next question of each task that has one; a task that the function leaves without
an answer (a batch is on its way) is in neither.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from distill.core.asking import Ask, Asked
from distill.core.chat import Sampling
from distill.core.jsonl import digest_text
from distill.teaching.parsing import Unreadable
from distill.teaching.prompts import Prompt, Question

Value = TypeVar("Value")
Steps = Generator[Question, str, Value]
Answerer = Callable[[Iterable[Ask]], Iterator[Asked]]
OUTCOMES = ("blocked", "cut", "empty", "unreadable", "failed")
DRY_MARK = "[dry]"
REASONS = {
    "blocked": "the service would not answer",
    "cut": "the answer was cut at the limit; raise --max-tokens",
    "empty": "the answer was empty",
}


@dataclass
class Task(Generic[Value]):
    """Work of one or more questions; `name` is the id of what comes of it."""

    name: str
    steps: Steps[Value]
    sampling: Sampling
    prompts: list[Prompt] = field(default_factory=list)
    version: str = ""


@dataclass(frozen=True)
class Finished(Generic[Value]):
    """What came of a task, the prompts that were asked, and the last version of the teacher."""

    name: str
    value: Value
    prompts: tuple[Prompt, ...]
    version: str


@dataclass(frozen=True)
class Unanswered:
    """Why nothing came of a task; `outcome` is one of OUTCOMES."""

    name: str
    outcome: str
    reason: str


@dataclass(frozen=True)
class Step(Generic[Value]):
    """A task that waits for the answer to a question."""

    task: Task[Value]
    question: Question

    def ask(self) -> Ask:
        task, prompt = self.task, self.question.prompt
        return Ask(task.name, self.question.messages(), task.sampling, prompt.name, prompt.digest)


def walk(
    tasks: Iterable[Task[Value]], answerer: Answerer
) -> Iterator[Finished[Value] | Unanswered]:
    """Round after round, in the order in which answers come."""
    waiting: Iterable[Step[Value]] = (Step(task, next(task.steps)) for task in tasks)
    while waiting:
        following: list[Step[Value]] = []
        asked_for: dict[str, Step[Value]] = {}
        for asked in answerer(asks_of(waiting, asked_for)):
            after = advanced(asked_for.pop(asked.ask.id), asked)
            if isinstance(after, Step):
                following.append(after)
            else:
                yield after
        waiting = following


def asks_of(waiting: Iterable[Step[Value]], asked_for: dict[str, Step[Value]]) -> Iterator[Ask]:
    for step in waiting:
        asked_for[step.task.name] = step
        yield step.ask()


def advanced(step: Step[Value], asked: Asked) -> Step[Value] | Finished[Value] | Unanswered:
    """Give a task its answer; an `Asked` without reply and failure stands for a dry run."""
    task = step.task
    if asked.failure is not None:
        return Unanswered(task.name, "failed", asked.failure)
    if asked.reply is not None and asked.reply.outcome != "answered":
        return Unanswered(task.name, asked.reply.outcome, REASONS[asked.reply.outcome])
    text = asked.reply.text if asked.reply else dry_answer(step)
    task.prompts.append(step.question.prompt)
    task.version = asked.reply.model if asked.reply else ""
    try:
        following = task.steps.send(text)
    except StopIteration as stop:
        return Finished(task.name, stop.value, tuple(task.prompts), task.version)
    except Unreadable as error:
        return Unanswered(task.name, "unreadable", str(error))
    return Step(task, following)


def dry_answer(step: Step[Value]) -> str:
    mark = digest_text(f"{step.task.name} {len(step.task.prompts)}")[:12]
    return step.question.stand_in.replace(DRY_MARK, mark)
