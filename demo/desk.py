"""What is known of each open page: its value, and how to stop what it is hearing.

In: the request of a page. Out: its `Visit`, one for each page and tab, in memory until the page is
closed. Nothing is refused.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


@dataclass
class Visit(Generic[Value]):
    """One page at one tab; a new reply takes the place of the one before."""

    value: Value
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> asyncio.Event:
        """End the reply before, and give the next one the event that ends it."""
        self.stop()
        self._stop = asyncio.Event()
        return self._stop

    def stop(self) -> None:
        """End the reply; what was heard of it stays."""
        self._stop.set()

    def leave(self) -> None:
        """End the reply and hear no more of it."""
        self.begin()

    def awaits(self, stop: asyncio.Event) -> bool:
        """Whether the reply with this event is still the one that the page waits for."""
        return self._stop is stop


class Desk(Generic[Value]):
    """The visits of one tab; all in one event loop."""

    def __init__(self, start: Callable[[], Value]) -> None:
        self._start = start
        self._visits: dict[str, Visit[Value]] = {}

    def visit(self, request: Any) -> Visit[Value]:
        if request.session_hash not in self._visits:
            self._visits[request.session_hash] = Visit(self._start())
        return self._visits[request.session_hash]

    def forget(self, request: Any) -> None:
        """The page is closed: end its reply, and keep nothing of it."""
        if visit := self._visits.pop(request.session_hash, None):
            visit.leave()
