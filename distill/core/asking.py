"""Put many questions to a chat at once, exactly once each, at a cost that cannot be passed.

In: `Ask`s, a chat, a ledger, `Terms`. Out: an `Asked` for each, in the order of completion; what
the ledger holds is not asked again. Only a few asks are held at a time. Every finished call is in
the ledger before its `Asked` is yielded. Refused: a cost limit for a model of unknown price
(BadInput); stopped: at the cost limit, and after several failures in a row (Unavailable).
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TypeVar

from distill.core.chat.seam import Chat, Messages, RefusedRequest, Reply, Sampling
from distill.core.errors import BadInput, Unavailable
from distill.core.jsonl import digest_text
from distill.core.ledger import Ledger, call_key
from distill.core.prices import Price, cost_of, estimate, price_of

Item = TypeVar("Item")
Came = Reply | RefusedRequest | Unavailable
AHEAD = 2  # calls handed to the threads, for each thread


@dataclass(frozen=True)
class Ask:
    """One question to a teacher; `id` joins the answer to its dialogue."""

    id: str
    messages: Messages
    sampling: Sampling
    prompt: str
    prompt_digest: str


@dataclass(frozen=True)
class Asked:
    """What came of it: a reply, from the ledger or fresh, or the reason why there is none."""

    ask: Ask
    reply: Reply | None
    from_ledger: bool
    failure: str | None


@dataclass(frozen=True)
class Terms:
    """How to ask; `max_cost_usd` limits all that the ledger has recorded and set aside.

    `retry_outcomes` asks again where the recorded reply was blocked, cut or empty.
    """

    concurrency: int = 8
    max_cost_usd: float | None = None
    price: Price | None = None
    patience: int = 5
    retry_outcomes: bool = False


@dataclass
class Flight:
    """A call under way, with every ask that waits for its reply."""

    key: str
    asks: list[Ask]
    reservation: int | None


@dataclass
class Asking:
    """The state of one run: what waits, what flies, what failed."""

    chat: Chat
    ledger: Ledger
    terms: Terms
    price: Price | None
    flights: dict[Future[Came], Flight] = field(default_factory=dict)
    keys: dict[str, Flight] = field(default_factory=dict)
    done: SimpleQueue[Future[Came]] = field(default_factory=SimpleQueue)
    failures: int = 0

    @property
    def held(self) -> int:
        return sum(len(flight.asks) for flight in self.flights.values())

    def room(self) -> bool:
        return self.held < self.terms.concurrency * AHEAD

    def known(self, ask: Ask, key: str) -> Asked | None:
        reply = self.ledger.find(key, retry_outcomes=self.terms.retry_outcomes)
        return Asked(ask, reply, True, None) if reply else None

    def launch(self, ask: Ask, key: str, pool: ThreadPoolExecutor) -> bool:
        """Start a call, unless the money for its worst case is not there now."""
        reservation = None
        if self.terms.max_cost_usd is not None:
            worst = estimate(ask.messages, ask.sampling, self.price).worst_usd or 0.0
            reservation = self.ledger.reserve(worst, self.terms.max_cost_usd)
            if reservation is None:
                return False
        flight = Flight(key, [ask], reservation)
        future = pool.submit(self.call, flight)
        self.flights[future] = self.keys[key] = flight
        future.add_done_callback(self.done.put)
        return True

    def call(self, flight: Flight) -> Came:
        """In a thread: ask, and write the reply down before anybody sees it.

        A failed call comes back as its error; whatever else is raised ends the run.
        """
        ask = flight.asks[0]
        try:
            reply = self.chat.reply(ask.messages, ask.sampling)
        except (RefusedRequest, Unavailable) as error:
            self.release(flight)
            return error
        except BaseException:
            self.release(flight)
            raise
        self.ledger.store(
            flight.key,
            reply,
            provider=self.chat.provider,
            model=self.chat.model,
            prompt_digest=ask.prompt_digest,
            cost_usd=cost_of(ask.messages, reply, self.price),
            reservation=flight.reservation,
        )
        return reply

    def landed(self) -> Iterator[Asked]:
        """Wait for the next call to end, and yield what it brought to all who wait for it."""
        future = self.done.get()
        flight = self.flights.pop(future)
        del self.keys[flight.key]
        came = future.result()
        if isinstance(came, Reply):
            self.failures, reply, failure = 0, came, None
        else:
            self.failures, reply, failure = self.failures + 1, None, str(came)
        if self.failures >= self.terms.patience:
            why = f"{failure}; stopped after {self.failures} failed calls in a row"
            raise Unavailable(self.stopped(why))
        for number, ask in enumerate(flight.asks):
            yield Asked(ask, reply, number > 0, failure)

    def stopped(self, why: str) -> str:
        kept = sum(self.ledger.counts().values())
        return (
            f"{why}; {kept} finished calls are kept in {self.ledger.path}, and the same command "
            "goes on from there"
        )

    def over_budget(self) -> Unavailable:
        spent, reserved = self.ledger.spent_usd(), self.ledger.reserved_usd()
        lost = f", {reserved:.4f} set aside by calls elsewhere or killed" if reserved else ""
        return Unavailable(
            self.stopped(
                f"the next call might pass --max-cost {self.terms.max_cost_usd:g} "
                f"({spent:.4f} dollars spent{lost}); stopped before it"
            )
            + " with a higher --max-cost"
        )

    def release(self, flight: Flight) -> None:
        if flight.reservation is not None:
            self.ledger.release(flight.reservation)

    def close(self, pool: ThreadPoolExecutor) -> None:
        """Calls under way are paid for: wait for them; those that never started cost nothing."""
        pool.shutdown(wait=True, cancel_futures=True)
        for future, flight in self.flights.items():
            if future.cancelled():
                self.release(flight)


def ask_all(asks: Iterable[Ask], chat: Chat, ledger: Ledger, terms: Terms) -> Iterator[Asked]:
    """Yield what came of every ask, in the order of completion."""
    if terms.concurrency < 1:
        raise BadInput(f"--concurrency {terms.concurrency} asks nothing; give 1 or more")
    return stream(asks, Asking(chat, ledger, terms, agreed_price(chat, terms)))


def agreed_price(chat: Chat, terms: Terms) -> Price | None:
    """The price of the terms or of the list; BadInput when a limit needs one and there is none."""
    price = terms.price or price_of(chat.provider, chat.model)
    if price is None and terms.max_cost_usd is not None:
        raise BadInput(
            f"the price of {chat.provider}:{chat.model} is not known, so --max-cost cannot be "
            "kept; give --price IN,OUT in dollars per million tokens (0,0 for your own machines)"
        )
    return price


def stream(asks: Iterable[Ask], asking: Asking) -> Iterator[Asked]:
    pool = ThreadPoolExecutor(asking.terms.concurrency)
    try:
        for ask in asks:
            yield from place(ask, asking, pool)
        while asking.flights:
            yield from asking.landed()
    finally:
        asking.close(pool)


def place(ask: Ask, asking: Asking, pool: ThreadPoolExecutor) -> Iterator[Asked]:
    """Answer from the ledger, join a call under way, or start one as soon as there is room."""
    while not asking.room():
        yield from asking.landed()
    key = call_key(asking.chat.provider, asking.chat.model, ask.messages, ask.sampling)
    if key in asking.keys:
        asking.keys[key].asks.append(ask)
        return
    if known := asking.known(ask, key):
        yield known
        return
    while not asking.launch(ask, key, pool):
        if not asking.flights:
            raise asking.over_budget()
        yield from asking.landed()


@dataclass(frozen=True)
class Plan:
    """What a run would ask and cost; money is None where the price is not known."""

    calls: int
    in_ledger: int
    input_tokens: int
    output_tokens: int
    expected_usd: float | None
    worst_usd: float | None
    price: Price | None
    spent_usd: float

    def lines(self) -> list[str]:
        """For people."""
        if self.expected_usd is None or self.worst_usd is None:
            cost = "cost: not known; give --price IN,OUT in dollars per million tokens"
        else:
            cost = f"cost: about {self.expected_usd:.4f} dollars, at most {self.worst_usd:.4f}"
        return [
            f"calls: {self.calls} to make, {self.in_ledger} in the ledger already",
            f"tokens: about {self.input_tokens} in (one for four characters), about "
            f"{self.output_tokens} out (as recorded replies to the prompt, or half the limit)",
            cost,
            f"the ledger has recorded {self.spent_usd:.4f} dollars so far",
        ]


def plan(asks: Iterable[Ask], chat: Chat, ledger: Ledger, terms: Terms) -> Plan:
    """Count without asking; equal calls count once."""
    price = terms.price or price_of(chat.provider, chat.model)
    seen: set[bytes] = set()
    usual: dict[str, float | None] = {}
    calls, held, tokens_in, tokens_out, expected, worst = 0, 0, 0, 0.0, 0.0, 0.0
    for ask in asks:
        key = call_key(chat.provider, chat.model, ask.messages, ask.sampling)
        if (short := bytes.fromhex(key)[:16]) in seen or ledger.find(
            key, retry_outcomes=terms.retry_outcomes
        ):
            held += 1
            continue
        seen.add(short)
        if ask.prompt_digest not in usual:
            usual[ask.prompt_digest] = ledger.mean_tokens(
                chat.provider, chat.model, ask.prompt_digest
            )
        one = estimate(ask.messages, ask.sampling, price, usual[ask.prompt_digest])
        calls += 1
        tokens_in += one.input_tokens
        tokens_out += one.output_tokens
        expected += one.expected_usd or 0.0
        worst += one.worst_usd or 0.0
    return Plan(
        calls,
        held,
        tokens_in,
        round(tokens_out),
        expected if price else None,
        worst if price else None,
        price,
        ledger.spent_usd(),
    )


def shard(items: Iterable[Item], spec: str | None, key: Callable[[Item], str]) -> Iterator[Item]:
    """The part `I/N` of the items, decided by the digest of each key alone; all without a spec."""
    if spec is None:
        return iter(items)
    number, _, count = spec.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BadInput(f"--shard {spec} is no part of a whole; write I/N, such as 2/5")
    wanted, parts = int(number) - 1, int(count)
    return (item for item in items if int(digest_text(key(item)), 16) % parts == wanted)
