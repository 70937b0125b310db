"""Repeat a call that failed for a passing reason, as long as the service says, or a little longer.

For clients that do not honour Retry-After themselves.
"""

import random
import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")
FIRST_S, LONGEST_S = 0.5, 60.0


class Passing(Exception):
    """A failure that may pass; `wait_s` is what the service asked for, `error` the failure."""

    def __init__(self, error: Exception, wait_s: float | None = None) -> None:
        super().__init__(str(error))
        self.error, self.wait_s = error, wait_s


def with_retries(
    call: Callable[[], Answer], retries: int, sleep: Callable[[float], None] = time.sleep
) -> Answer:
    """The answer of the first call that succeeds; the error of the last one when none does.

    A service that asks for more than `LONGEST_S` is not waited for.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except Passing as passing:
            wait_s = passing.wait_s
            if attempt == retries or (wait_s or 0) > LONGEST_S:
                raise passing.error from passing.error.__cause__
            sleep(backoff_s(attempt) if wait_s is None else wait_s)
    raise AssertionError("unreachable")


def backoff_s(attempt: int) -> float:
    """Twice as long each time, by a random share, so that many callers do not return at once."""
    longest = min(FIRST_S * float(2**attempt), LONGEST_S)
    return longest * random.uniform(0.75, 1.0)
