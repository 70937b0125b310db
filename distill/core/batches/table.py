"""Submit calls as batches, look at them, bring their answers into the ledger.

In: asks, a chat, a ledger, a folder. Out: batch records, their states, what came of them. A call is
submitted once: what the ledger holds, or a batch that was not collected yet, is left out. Refused:
a provider without batches, a batch that may pass the cost limit (Unavailable; batches before it
stay submitted).
"""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.core.asking import Ask, Terms, agreed_price
from distill.core.batches.folder import (
    BatchFolder,
    BatchTerms,
    Call,
    Part,
    alone,
    folders_in,
    fresh_in,
    parts,
)
from distill.core.batches.seam import BatchOutcome, BatchService, Submission
from distill.core.chat.seam import Chat, Reply
from distill.core.errors import BadInput, Unavailable
from distill.core.ledger import BatchRecord, Ledger, call_key
from distill.core.prices import BATCH_SHARE, Price, cost_of, estimate
from distill.core.progress import say

PROVIDERS: Mapping[str, str] = {
    "openai": "distill.core.batches.openai",
    "gemini": "distill.core.batches.gemini",
}
TIMEOUT_S = 600.0


def open_batches(
    provider: str, model: str, url: str | None, timeout_s: float = TIMEOUT_S
) -> BatchService:
    """The batch service of a provider."""
    if provider not in PROVIDERS:
        raise BadInput(
            f"{provider} has no batches; ask without --batch, or a teacher of: "
            f"{', '.join(PROVIDERS)}"
        )
    service: BatchService = importlib.import_module(PROVIDERS[provider]).opened(
        model, url, timeout_s
    )
    return service


def submit(
    asks: Iterable[Ask], chat: Chat, ledger: Ledger, folder: Path, terms: Terms = Terms()
) -> Submission:
    """Submit what the ledger lacks and no batch carries, in as many batches as the limits want."""
    urls = getattr(chat, "urls", (None,))
    service = open_batches(chat.provider, chat.model, urls[0])
    price = agreed_price(chat, terms)
    folder = folder.absolute()
    with alone(folder):
        found_again = recovered(ledger, folder)
        on_their_way = waiting_keys(ledger)
        counted = Counted(asks, service, ledger, on_their_way, terms.retry_outcomes)
        records = [
            submitted(part, service, ledger, folder, price, terms) for part in parts(counted)
        ]
    made = sum(record.calls for record in records)
    return Submission([*found_again, *records], made, counted.waiting)


class Counted:
    """The calls to submit, each once; `waiting` counts those that a batch carries already."""

    def __init__(
        self,
        asks: Iterable[Ask],
        service: BatchService,
        ledger: Ledger,
        on_their_way: set[str],
        retry_outcomes: bool,
    ) -> None:
        self.asks, self.service, self.ledger = asks, service, ledger
        self.on_their_way, self.retry_outcomes = on_their_way, retry_outcomes
        self.waiting = 0

    def __iter__(self) -> Iterator[tuple[str, Ask, Mapping[str, Any]]]:
        seen: set[str] = set()
        for ask in self.asks:
            key = call_key(self.service.provider, self.service.model, ask.messages, ask.sampling)
            self.waiting += key in self.on_their_way
            if key in seen or key in self.on_their_way:
                continue
            seen.add(key)
            if not self.ledger.find(key, retry_outcomes=self.retry_outcomes):
                yield key, ask, self.service.row(key, ask.messages, ask.sampling)


def submitted(
    part: Part,
    service: BatchService,
    ledger: Ledger,
    folder: Path,
    price: Price | None,
    terms: Terms,
) -> BatchRecord:
    """Set the money aside, write the folder, submit it, and write that down."""
    kept = fresh_in(folder)
    reservation = reserved(part, ledger, price, terms)
    where = (service.provider, service.model, service.url, str(ledger.path.absolute()))
    kept.write(part, BatchTerms(*where, price, reservation))
    try:
        id = service.send(kept.requests, kept.mark)
    except BadInput:
        abandon(kept, ledger)
        raise
    return recorded(kept, id, ledger)


def reserved(part: Part, ledger: Ledger, price: Price | None, terms: Terms) -> int | None:
    if terms.max_cost_usd is None:
        return None
    worst = [estimate(ask.messages, ask.sampling, price).worst_usd or 0.0 for _, ask in part.asks]
    most = sum(worst) * BATCH_SHARE
    reservation = ledger.reserve(most, terms.max_cost_usd)
    if reservation is None:
        raise Unavailable(
            f"a batch of {len(part.asks)} calls may cost {most:.4f} dollars and would pass "
            f"--max-cost {terms.max_cost_usd:g} ({ledger.spent_usd():.4f} spent, "
            f"{ledger.reserved_usd():.4f} set aside); it was not submitted: raise the limit, or "
            "submit fewer with --limit"
        )
    return reservation


def recorded(kept: BatchFolder, id: str, ledger: Ledger) -> BatchRecord:
    terms = kept.terms()
    calls = sum(1 for _ in kept.calls())
    record = BatchRecord(
        id, terms.provider, terms.model, "waiting", calls, str(kept.path), terms.url
    )
    ledger.add_batch(record)
    return record


def recovered(ledger: Ledger, folder: Path) -> list[BatchRecord]:
    """Batches of runs that were killed before they wrote them down; others leave nothing."""
    known = {record.folder for record in ledger.batches()}
    found = []
    for kept in folders_in(folder):
        if str(kept.path) in known or (kept.whole and not is_of(kept.terms(), ledger)):
            continue
        terms = kept.terms() if kept.whole else None
        id = open_batches(terms.provider, terms.model, terms.url).find(kept.mark) if terms else None
        if id:
            say(f"{id} was submitted by a run that did not end; its calls are not submitted again")
            found.append(recorded(kept, id, ledger))
        else:
            abandon(kept, ledger)
    return found


def is_of(terms: BatchTerms, ledger: Ledger) -> bool:
    return terms.ledger == str(ledger.path.absolute())


def abandon(kept: BatchFolder, ledger: Ledger) -> None:
    """Remove what was never submitted, and free its money."""
    if kept.whole and (reservation := kept.terms().reservation) is not None:
        ledger.release(reservation)
    kept.remove()


def waiting_keys(ledger: Ledger) -> set[str]:
    """Keys of the calls in batches whose answers are not in the ledger yet."""
    open_records = [record for record in ledger.batches() if record.state != "collected"]
    return {
        call.key for record in open_records for call in BatchFolder(Path(record.folder)).calls()
    }


def refresh(record: BatchRecord, ledger: Ledger) -> BatchRecord:
    """Ask the provider how a batch stands, and write it down; a collected one stays that."""
    if record.state == "collected":
        return record
    look = open_batches(record.provider, record.model, record.base_url).look(record.id)
    ledger.set_batch_state(record.id, look.state, look.note)
    return replace(record, state=look.state, note=look.note)


def collect(record: BatchRecord, ledger: Ledger) -> BatchOutcome:
    """Bring the answers of a batch that ended into the ledger, each joined by its key.

    It may be repeated after a kill: an answer that is there is not counted as paid again.
    """
    record = refresh(record, ledger)
    if record.state == "waiting":
        raise Unavailable(f"{record.id} is not done ({record.note}); collect it later")
    kept = BatchFolder(Path(record.folder))
    calls = {call.key: call for call in kept.calls()}
    terms, answered, failed = kept.terms(), set(), {}
    if record.state == "collected":
        answered = {key for key in calls if ledger.find(key)}
    else:
        service = open_batches(record.provider, record.model, record.base_url)
        for result in service.results(record.id, kept.path):
            if not (call := calls.get(result.key)):
                say(f"{record.id} answers {result.key}, which was not in it; that is left out")
            elif result.reply:
                keep(call, result.reply, ledger, terms)
                answered.add(result.key)
            else:
                failed[result.key] = result.failure or "no reason given"
    return ended(record, ledger, calls, terms, answered, failed)


def keep(call: Call, reply: Reply, ledger: Ledger, terms: BatchTerms) -> None:
    if ledger.find(call.key) == reply:
        return
    ledger.store(
        call.key,
        reply,
        provider=terms.provider,
        model=terms.model,
        prompt_digest=call.prompt_digest,
        cost_usd=cost_of(call.messages, reply, terms.price, batch=True),
    )


def ended(
    record: BatchRecord,
    ledger: Ledger,
    calls: Mapping[str, Call],
    terms: BatchTerms,
    answered: set[str],
    failed: Mapping[str, str],
) -> BatchOutcome:
    """Write that a batch was collected, and tell what came of it by the ids of the asks."""
    failures = {calls[key].id: why for key, why in failed.items() if key not in answered}
    lost = [call.id for key, call in calls.items() if key not in answered and key not in failed]
    if record.state != "collected":
        note = f"{record.state}: {len(answered)} answered, {len(failures)} failed, "
        note += f"{len(lost)} missing"
        if terms.reservation is not None:
            ledger.release(terms.reservation)
        ledger.set_batch_state(record.id, "collected", note)
        record = replace(record, state="collected", note=note)
    return BatchOutcome(record, [calls[key].id for key in calls if key in answered], failures, lost)


def give_up(record: BatchRecord, ledger: Ledger) -> BatchOutcome:
    """Let go of a batch that the provider does not know any more: all its calls are missing."""
    kept = BatchFolder(Path(record.folder))
    calls = {call.key: call for call in kept.calls()}
    return ended(replace(record, state="failed"), ledger, calls, kept.terms(), set(), {})
