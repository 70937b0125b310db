"""The three ways in which a question gets its answer: a call now, a count, a batch.

In: asks. Out: an `Asked` for each that has an answer. `Counting` asks nothing: what the ledger
lacks comes back without a reply. `Batching` asks nothing either: what the ledger lacks is kept in
`missing` for the batch service.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from distill.core.asking import Ask, Asked, Plan, Terms, ask_all, plan
from distill.core.chat import Chat
from distill.core.ledger import Ledger, call_key


@dataclass
class Calling:
    """Ask now; `fresh` counts the calls that were made."""

    chat: Chat
    ledger: Ledger
    terms: Terms
    fresh: int = 0
    found: int = 0

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Asked]:
        for asked in ask_all(asks, self.chat, self.ledger, self.terms):
            self.found += asked.from_ledger
            self.fresh += not asked.from_ledger and asked.failure is None
            yield asked


@dataclass
class Counting:
    """Ask nothing, and add up what asking would cost."""

    chat: Chat
    ledger: Ledger
    terms: Terms
    plans: list[Plan] = field(default_factory=list)

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Asked]:
        every = list(asks)
        self.plans.append(plan(every, self.chat, self.ledger, self.terms))
        for ask in every:
            reply = self.ledger.find(key_of(ask, self.chat))
            yield Asked(ask, reply, reply is not None, None)

    def total(self) -> Plan:
        first = self.plans[0]
        return Plan(
            calls=sum(one.calls for one in self.plans),
            in_ledger=sum(one.in_ledger for one in self.plans),
            input_tokens=sum(one.input_tokens for one in self.plans),
            output_tokens=sum(one.output_tokens for one in self.plans),
            expected_usd=added(one.expected_usd for one in self.plans),
            worst_usd=added(one.worst_usd for one in self.plans),
            price=first.price,
            spent_usd=first.spent_usd,
        )


@dataclass
class Batching:
    """Ask nothing, and keep each call that the ledger lacks, once."""

    chat: Chat
    ledger: Ledger
    missing: dict[str, Ask] = field(default_factory=dict)
    found: int = 0

    def __call__(self, asks: Iterable[Ask]) -> Iterator[Asked]:
        for ask in asks:
            key = key_of(ask, self.chat)
            if reply := self.ledger.find(key):
                self.found += 1
                yield Asked(ask, reply, True, None)
            else:
                self.missing.setdefault(key, ask)


def key_of(ask: Ask, chat: Chat) -> str:
    return call_key(chat.provider, chat.model, ask.messages, ask.sampling)


def added(amounts: Iterable[float | None]) -> float | None:
    every = list(amounts)
    return None if None in every else sum(amount for amount in every if amount is not None)
