"""What goes wrong at a stand-in, and when.

In: rates between 0 and 1, a seed. Out: for a request's digest and the number of its attempt, the
same fate in every run. Refused: rates that are none, or that leave no room for an answer to a
request (BadInput).
"""

import hashlib
from dataclasses import dataclass, fields
from typing import Literal

from distill.core.errors import BadInput

Failure = Literal["http_429", "http_500", "timeout"]
Ending = Literal["stop", "length", "blocked", "empty"]
RowFate = Literal["done", "dropped", "failed", "expired"]
RATES = ("fail_429", "fail_500", "timeout", "block", "truncate", "empty", "drop", "errors")


@dataclass(frozen=True)
class Faults:
    """Rates are shares of requests; `drop`, `errors`, `expire` are shares of a batch's rows.

    `timeout` accepts a request and never answers it. `expire` ends an OpenAI batch as expired, with
    that share of its rows not done, and is the share of Gemini batches that expire, which leaves
    nothing of them. `fail_batch` is a share of batches, refused as a whole; `lose_batch` of batches
    that are made while their client is told of a failure.
    `batch_looks` is how often a batch is looked at before it is done.
    """

    latency_ms: float = 0.0
    fail_429: float = 0.0
    fail_500: float = 0.0
    timeout: float = 0.0
    block: float = 0.0
    truncate: float = 0.0
    empty: float = 0.0
    reorder: bool = False
    drop: float = 0.0
    errors: float = 0.0
    expire: float = 0.0
    fail_batch: float = 0.0
    lose_batch: float = 0.0
    batch_looks: int = 1
    retry_after_ms: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in (*RATES, "expire", "fail_batch", "lose_batch"):
            if not 0 <= named[name] <= 1:
                raise BadInput(f"{name} is {named[name]}; a rate lies between 0 and 1")
        for group in (("fail_429", "fail_500", "timeout"), ("block", "truncate", "empty")):
            if sum(named[name] for name in group) > 1:
                raise BadInput(f"{', '.join(group)} add up to more than 1; lower one of them")

    def failure(self, digest: str, attempt: int) -> Failure | None:
        """How this attempt fails over HTTP, if it does."""
        rates: dict[Failure, float] = {
            "http_429": self.fail_429,
            "http_500": self.fail_500,
            "timeout": self.timeout,
        }
        drawn = self.draw("failure", digest, attempt)
        for name, rate in rates.items():
            if drawn < rate:
                return name
            drawn -= rate
        return None

    def ending(self, digest: str, attempt: int) -> Ending:
        """How an answer that is given ends."""
        rates: dict[Ending, float] = {
            "blocked": self.block,
            "length": self.truncate,
            "empty": self.empty,
        }
        drawn = self.draw("ending", digest, attempt)
        for name, rate in rates.items():
            if drawn < rate:
                return name
            drawn -= rate
        return "stop"

    def row(self, digest: str, attempt: int) -> RowFate:
        """What becomes of one row of a batch."""
        rates: dict[RowFate, float] = {
            "dropped": self.drop,
            "failed": self.errors,
            "expired": self.expire,
        }
        for name, rate in rates.items():
            if self.draw(name, digest, attempt) < rate:
                return name
        return "done"

    def batch_fails(self, digest: str, attempt: int) -> bool:
        return self.draw("batch", digest, attempt) < self.fail_batch

    def batch_lost(self, name: str) -> bool:
        return self.draw("batch-lost", name, 0) < self.lose_batch

    def batch_expires(self, digest: str, attempt: int) -> bool:
        """For a service whose expired batches have no results at all."""
        return self.draw("batch-expires", digest, attempt) < self.expire

    def draw(self, what: str, digest: str, attempt: int) -> float:
        """A number in [0, 1) that only these values decide."""
        text = f"{self.seed}/{what}/{digest}/{attempt}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) / 2**56
