"""What a call costs, before and after it is made.

In: `prices.yaml`, messages, a `Sampling`, a `Reply`. Out: dollars, or None where the price is not
known. Refused: a price that cannot be read (BadInput).
Tokens before a call: expected, one for four characters and four a message; at most, one for each
byte of UTF-8 and sixteen a message, since no tokenizer in use makes more of them.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import yaml

from distill.core.chat.seam import Messages, Reply, Sampling
from distill.core.errors import BadInput

LOCAL = frozenset({"transformers", "scripted"})
CHARACTERS_PER_TOKEN = 4
MESSAGE_TOKENS = 4
MOST_MESSAGE_TOKENS = 16
BATCH_SHARE = 0.5
DATED = re.compile(r"-(\d{4}-\d{2}-\d{2}|\d{3})$")


@dataclass(frozen=True)
class Price:
    """Dollars per million tokens."""

    input_usd: float
    output_usd: float

    def cost(self, input_tokens: float, output_tokens: float, *, batch: bool = False) -> float:
        whole = (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6
        return whole * BATCH_SHARE if batch else whole


@dataclass(frozen=True)
class Estimate:
    """Tokens and dollars of one call before it is made; `worst_usd` cannot be passed."""

    input_tokens: int
    output_tokens: float
    expected_usd: float | None
    worst_usd: float | None


@cache
def listed() -> dict[str, Any]:
    text = resources.files("distill.core").joinpath("prices.yaml").read_text("utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def price_of(provider: str, model: str) -> Price | None:
    """The list price; a dated version costs what its model does, and local models nothing."""
    if provider in LOCAL:
        return Price(0.0, 0.0)
    models = listed().get(provider, {})
    short = model.removeprefix("models/")
    found = models.get(short) or models.get(DATED.sub("", short))
    return Price(*found) if found else None


def read_price(text: str) -> Price:
    """`IN,OUT` in dollars per million tokens, as --price takes it."""
    try:
        price = Price(*(float(part) for part in text.split(",")))
    except (TypeError, ValueError):
        price = Price(-1, -1)
    if not (0 <= price.input_usd < float("inf") and 0 <= price.output_usd < float("inf")):
        raise BadInput(f"--price {text} is no price; write IN,OUT in dollars per million tokens")
    return price


def estimate(
    messages: Messages, sampling: Sampling, price: Price | None, output_tokens: float | None = None
) -> Estimate:
    """A call's tokens and cost; `output_tokens` is what is expected, half the limit by default."""
    expected_input = expected_tokens(messages)
    expected = sampling.max_tokens / 2 if output_tokens is None else output_tokens
    if price is None:
        return Estimate(expected_input, expected, None, None)
    worst = price.cost(most_tokens(messages), sampling.max_tokens)
    return Estimate(expected_input, expected, price.cost(expected_input, expected), worst)


def expected_tokens(messages: Messages) -> int:
    return sum(
        MESSAGE_TOKENS + -(-len(message["content"]) // CHARACTERS_PER_TOKEN) for message in messages
    )


def most_tokens(messages: Messages) -> int:
    return sum(MOST_MESSAGE_TOKENS + len(message["content"].encode()) for message in messages)


def cost_of(
    messages: Messages, reply: Reply, price: Price | None, *, batch: bool = False
) -> float | None:
    """What a finished call cost; tokens that the service did not count are estimated."""
    if price is None:
        return None
    shown = -(-len(reply.text) // CHARACTERS_PER_TOKEN)
    asked = reply.prompt_tokens or expected_tokens(messages)
    return price.cost(asked, reply.tokens or shown, batch=batch)
