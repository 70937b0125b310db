"""Bring the answers of batches that ended into the ledger.

In: a ledger. Out: how many calls of each batch were answered, failed, or are missing; those two
are named by the id of what they were asked for, and the same command submits them again. Refused:
a ledger that is not there; a batch that cannot be fetched is named, and the exit code is 1.
"""

from collections.abc import Sequence
from typing import Any

from distill.core.batches import BatchOutcome, collect, refresh
from distill.core.command import Outcome, command
from distill.core.ledger import BatchRecord, Ledger
from distill.core.progress import say
from distill.teaching.options import LEDGER, LedgerPath
from distill.teaching.submitted import COLLECTED, WAITING, each, present

SHOWN = 5


@command
def run(ledger: LedgerPath = LEDGER) -> Outcome:
    """Fetch the answers of batches that ended; may be repeated, whenever it is stopped."""
    with present(ledger) as kept:
        records = [one for one in kept.batches() if one.state != COLLECTED]
        found = list(each(records, lambda record: fetched(record, kept)))
    ended = [came for _, came in found if isinstance(came, BatchOutcome)]
    waiting = [came.id for _, came in found if isinstance(came, BatchRecord)]
    for one in ended:
        remark(one)
    data = {"collected": [described(one) for one in ended], "waiting": waiting}
    failed = any(came is None for _, came in found)
    return Outcome(data, lines_of(ended, waiting), 1 if failed else 0)


def fetched(record: BatchRecord, ledger: Ledger) -> BatchOutcome | BatchRecord:
    """What came of a batch; the batch itself when the provider still works on it."""
    seen = refresh(record, ledger)
    return seen if seen.state == WAITING else collect(seen, ledger)


def described(one: BatchOutcome) -> dict[str, Any]:
    return {
        "id": one.record.id,
        "answered": len(one.answered),
        "failed": dict(one.failed),
        "missing": list(one.missing),
    }


def remark(one: BatchOutcome) -> None:
    """Name what is not there; all of it is in --json."""
    for what, names in (
        ("failed", [f"{name} ({why})" for name, why in one.failed.items()]),
        ("missing", one.missing),
    ):
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            say(f"{one.record.id}: {what}: {', '.join(names[:SHOWN])}{more}")


def lines_of(ended: Sequence[BatchOutcome], waiting: Sequence[str]) -> list[str]:
    lines = [f"{one.record.id}: {one.record.note}" for one in ended]
    lines += [f"{id}: not done yet" for id in waiting]
    if any(one.failed or one.missing for one in ended):
        lines.append("the command that submitted them, run again, submits what is missing")
    elif ended:
        lines.append("run the command that submitted them again: it finds the answers")
    return lines or ["no batch waits"]
