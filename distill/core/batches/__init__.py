"""Batch APIs: half the price, answers within a day, joined by the key of their call.

In: asks. Out: batch records in the ledger, and what came of each. One provider is one file here
and one line in `table.py`.
"""

from distill.core.batches.seam import BatchOutcome, BatchService, Look, Result, State, Submission
from distill.core.batches.table import collect, give_up, open_batches, refresh, submit
from distill.core.ledger import BatchRecord

__all__ = [
    "BatchOutcome",
    "BatchRecord",
    "BatchService",
    "Look",
    "Result",
    "State",
    "Submission",
    "collect",
    "give_up",
    "open_batches",
    "refresh",
    "submit",
]
