"""How far the submitted batches are.

In: a ledger. Out: every batch with its state; what the provider says is written down. Refused: a
ledger that is not there; a batch that cannot be looked at is named, and the exit code is 1.
"""

from dataclasses import asdict

from rich.table import Table

from distill.core.batches import refresh
from distill.core.command import Outcome, command
from distill.core.ledger import BatchRecord
from distill.teaching.options import LEDGER, LedgerPath
from distill.teaching.submitted import each, present

COLUMNS = ("batch", "teacher", "calls", "state", "note", "submitted")


@command
def run(ledger: LedgerPath = LEDGER) -> Outcome:
    """Ask the providers how far the submitted batches are."""
    with present(ledger) as kept:
        found = list(each(kept.batches(), lambda record: refresh(record, kept)))
    records = [seen or record for record, seen in found]
    failed = any(seen is None for _, seen in found)
    text = [table_of(records)] if records else [f"{ledger} has no batches"]
    return Outcome({"batches": [asdict(one) for one in records]}, text, 1 if failed else 0)


def table_of(records: list[BatchRecord]) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, no_wrap=column == "batch", overflow="fold")
    for one in records:
        teacher = f"{one.provider}:{one.model}"
        table.add_row(one.id, teacher, str(one.calls), one.state, one.note, one.submitted_at[:16])
    return table
