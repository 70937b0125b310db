"""What teach, annotate and improve do once they know what to ask: count, submit, or ask and write.

In: a data folder, the shared options and the phases of the command. Out: the command's outcome;
with every answer there, a new data folder. Refused: a place that cannot be written, a test split
that would be asked about, before anything is paid for.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic

from rich.table import Table

from distill.core.batches import Submission, submit
from distill.core.chat import Chat, ScriptedChat
from distill.core.chat.table import PROVIDERS, open_chat
from distill.core.command import Outcome
from distill.core.folder import refuse_foreign
from distill.core.ledger import Ledger
from distill.core.progress import say, track
from distill.core.records import Refusal
from distill.teaching.answerers import Batching, Calling, Counting
from distill.teaching.choosing import Chosen
from distill.teaching.data_folder import NAMES, UNANSWERED, DataFolder
from distill.teaching.options import Service
from distill.teaching.steps import (
    OUTCOMES,
    Answerer,
    Finished,
    Task,
    Unanswered,
    Value,
    walk,
)

SHOWN = 5
BATCHES = "batches"


@dataclass(frozen=True)
class Phase(Generic[Value]):
    """Tasks that follow from a folder, and the folder with what came of them."""

    tasks: Callable[[DataFolder], list[Task[Value]]]
    merged: Callable[[DataFolder, Sequence[Finished[Value]]], DataFolder]


@dataclass
class Done:
    """A folder after all phases, and what happened on the way."""

    folder: DataFolder
    tasks: int = 0
    finished: int = 0
    unanswered: list[Unanswered] = field(default_factory=list)
    prompts: dict[str, str] = field(default_factory=dict)

    @property
    def open(self) -> int:
        """Tasks that wait for a batch."""
        return self.tasks - self.finished - len(self.unanswered)


@dataclass(frozen=True)
class Job:
    """One command: what it is called, what it starts from, and what it does."""

    verb: str
    folder: DataFolder
    chosen: Chosen
    phases: Sequence[Phase[Any]]
    said: Mapping[str, Any]


def carry_out(job: Job, service: Service) -> Outcome:
    """Do what the options say: count, submit what is missing, or ask and write."""
    remark_on_near(job.chosen)
    if not service.dry_run:
        refuse_foreign(service.target(), NAMES)
    chat = opened(service)
    with Ledger(service.ledger) as ledger:
        if service.dry_run:
            return counted(job, Counting(chat, ledger, service.terms()))
        if service.batch:
            return submitted(job, service, Batching(chat, ledger))
        return asked(job, service, Calling(chat, ledger, service.terms()))


def opened(service: Service) -> Chat:
    """The teacher; a dry run needs no key, so its teacher has a name and no voice."""
    provider, _, model = service.teacher.partition(":")
    if service.dry_run and provider in PROVIDERS and model and provider != "transformers":
        return ScriptedChat(silent, model, provider=provider)
    return open_chat(service.teacher, base_urls=tuple(service.base_url), timeout_s=service.timeout)


def silent(messages: object) -> str:
    raise AssertionError("a dry run asks nothing")


def through(job: Job, answerer: Answerer) -> Done:
    """All phases, each from the folder that the last one left."""
    done = Done(job.folder)
    for phase in job.phases:
        tasks = phase.tasks(done.folder)
        done.tasks += len(tasks)
        ended = {one.name: one for one in track(walk(tasks, answerer), job.verb, len(tasks))}
        in_order = [ended[task.name] for task in tasks if task.name in ended]
        finished = [one for one in in_order if isinstance(one, Finished)]
        done.finished += len(finished)
        done.unanswered += [one for one in in_order if isinstance(one, Unanswered)]
        for one in finished:
            done.prompts |= {prompt.name: prompt.digest for prompt in one.prompts}
        done.folder = phase.merged(done.folder, finished)
    return done


def counted(job: Job, counting: Counting) -> Outcome:
    done = through(job, counting)
    total = counting.total()
    data = {"dry_run": True, "tasks": done.tasks, **vars(total)}
    data["price"] = vars(total.price) if total.price else None
    return Outcome(data, [f"{job.verb}: {done.tasks} to do", *total.lines()])


def submitted(job: Job, service: Service, batching: Batching) -> Outcome:
    """Write when the ledger holds every answer; submit what it lacks otherwise."""
    done = through(job, batching)
    if not done.open:
        spent = {"calls": 0, "from_ledger": batching.found, "spent_usd": 0.0}
        return written(job, service, done, spent)
    folder = service.ledger.parent / BATCHES
    sent = submit(
        batching.missing.values(), batching.chat, batching.ledger, folder, service.terms()
    )
    data = {
        "submitted": [record.id for record in sent.records],
        "calls": sent.calls,
        "on_their_way": sent.waiting,
        "answered": done.finished,
    }
    return Outcome(data, come_back(sent, done, service))


def come_back(sent: Submission, done: Done, service: Service) -> list[str]:
    """What was submitted, and how to go on."""
    named = f" ({', '.join(record.id for record in sent.records)})" if sent.records else ""
    then = f"--ledger {service.ledger}"
    return [
        f"{sent.calls} calls submitted{named}, {sent.waiting} on their way already; "
        f"{done.finished} of {done.tasks} are answered",
        f"nothing was written yet: wait with `distill teach status {then}`, fetch the answers with "
        f"`distill teach collect {then}`, and run the same command again; without --batch it asks "
        "for what is missing at once",
    ]


def asked(job: Job, service: Service, calling: Calling) -> Outcome:
    before = calling.ledger.spent_usd()
    done = through(job, calling)
    spent = {
        "calls": calling.fresh,
        "from_ledger": calling.found,
        "spent_usd": round(calling.ledger.spent_usd() - before, 6),
    }
    return written(job, service, done, spent)


def written(job: Job, service: Service, done: Done, spent: Mapping[str, Any]) -> Outcome:
    """Write the folder, and tell what came of every task."""
    counts = Counter(one.outcome for one in done.unanswered)
    outcomes = {"answered": done.finished, **{name: counts[name] for name in OUTCOMES}}
    step = {
        "verb": job.verb,
        "teacher": service.teacher,
        "prompts": done.prompts,
        "outcomes": outcomes,
        "near_to_test": dict(job.chosen.near_to_test),
        **job.said,
    }
    refusals = [
        Refusal(response_id=one.name, rule=one.outcome, reason=one.reason)
        for one in done.unanswered
    ]
    out = service.target()
    done.folder.write(out, step, refusals)
    remark_on_unanswered(done, service)
    data = {"out": str(out), **step, **spent, "unanswered": [r.model_dump() for r in refusals]}
    line = (
        f"{out}: {done.finished} of {done.tasks} answered, with {spent['calls']} calls for "
        f"{spent['spent_usd']:.4f} dollars and {spent['from_ledger']} replies from the ledger"
    )
    return Outcome(data, [table_of(job.verb, outcomes), line], 1 if counts["failed"] else 0)


def table_of(verb: str, outcomes: Mapping[str, int]) -> Table:
    table = Table("outcome", title=verb, title_justify="left")
    table.add_column("count", justify="right")
    for name, count in outcomes.items():
        if count or name == "answered":
            table.add_row(name, str(count))
    return table


def remark_on_near(chosen: Chosen) -> None:
    if near := chosen.near_to_test:
        shown = ", ".join(f"{one} (near {other})" for one, other in [*near.items()][:SHOWN])
        more = f" and {len(near) - SHOWN} more" if len(near) > SHOWN else ""
        say(f"left out, near to a dialogue of the test split: {shown}{more}")


def remark_on_unanswered(done: Done, service: Service) -> None:
    for one in done.unanswered[:SHOWN]:
        say(f"{one.outcome}: {one.name}: {one.reason}")
    if not done.unanswered:
        return
    counts = Counter(one.outcome for one in done.unanswered)
    again = service.target() / UNANSWERED
    if counts["failed"]:
        say(f"error: {counts['failed']} calls failed; run the same command again to ask for those")
    if len(done.unanswered) > counts["failed"]:
        say(f"{again} lists all without an answer; --again {again} asks anew with another seed")
