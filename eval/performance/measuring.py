"""Asking a served file, and keeping everything that its clock said.

In: a client and a plan. Out: `Sample`s, one a reply, in the order in which they were asked, and
what the meters saw beside them. Nothing is refused here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from distill.core.records import Dialogue
from eval.machine import MemoryWatch
from eval.performance.client import Client, Timed
from eval.performance.energy import EnergyMeter
from eval.performance.prompts import Messages, of_length, story, user

WARM_UP = user("Hello. I would like to talk with you for a while.")
WARM_UPS = 2
TRIES = 8  # replies that one repeat may take until it has its tokens
WIDE = 1.5  # a temperature at which replies are long


@dataclass(frozen=True)
class Plan:
    """What is asked: of dialogues greedily, and of prompts of `lengths` tokens `repeats` times."""

    dialogues: Sequence[Dialogue]
    lengths: Sequence[int]
    repeats: int
    max_tokens: int
    decode_tokens: int
    seed: int


@dataclass(frozen=True)
class Sample:
    """A reply, and what it was asked for: `kind` dialogue, prefill (a new prompt) or decode."""

    kind: str
    name: str
    threads: int
    repeat: int
    reply: Timed


@dataclass
class Meters:
    """What is looked at between replies, when nothing is timed."""

    memory: MemoryWatch
    energy: EnergyMeter

    def around(self, ask: Callable[[], Timed]) -> Timed:
        self.energy.begin()
        reply = ask()
        self.energy.step(reply.tokens)
        self.memory.look()
        return reply


def warmed(client: Client, seed: int) -> Timed:
    """The first reply of a server; a second one is asked and not kept."""
    first, *_ = [client.ask(WARM_UP, limit=16, seed=seed) for _ in range(WARM_UPS)]
    return first


def over_dialogues(client: Client, plan: Plan, threads: int, meters: Meters) -> Iterator[Sample]:
    """One greedy reply to each dialogue, one after another."""
    for dialogue in plan.dialogues:
        messages = dialogue.messages()

        def ask(messages: Messages = messages) -> Timed:
            return client.ask(messages, limit=plan.max_tokens, seed=plan.seed)

        yield Sample("dialogue", dialogue.id, threads, 0, meters.around(ask))


def over_lengths(client: Client, plan: Plan, threads: int, meters: Meters) -> Iterator[Sample]:
    """`repeats` new prompts of each length, and so many replies to each as make `decode_tokens`."""

    def tokens_of(messages: Messages) -> int:
        return client.ask(messages, limit=1, seed=plan.seed).prompt_tokens

    for number, length in enumerate(plan.lengths):
        words, fill = of_length(length, tokens_of)
        for repeat in range(plan.repeats):
            messages = story(words, number * plan.repeats + repeat + 1, fill)
            yield from one_repeat(client, plan, messages, (length, threads, repeat), meters)


def one_repeat(
    client: Client, plan: Plan, messages: Messages, place: tuple[int, int, int], meters: Meters
) -> Iterator[Sample]:
    """The prompt is new to the server the first time only, so the rest tells of decoding alone."""
    length, threads, repeat = place
    left, kind = plan.decode_tokens, "prefill"
    for number in range(TRIES):
        seed = plan.seed + repeat * TRIES + number

        def ask(limit: int = left, seed: int = seed) -> Timed:
            return client.ask(messages, limit=limit, temperature=WIDE, seed=seed)

        reply = meters.around(ask)
        yield Sample(kind, str(length), threads, repeat, reply)
        left, kind = left - reply.tokens, "decode"
        if left < 2:
            return
