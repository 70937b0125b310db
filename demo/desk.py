"""Who is being answered on which page, so that a page has one reply at a time and can stop it.

In: the hash of a page's session. Out: an event that ends the page's reply when it is set. Nothing
is refused.
"""

import asyncio
from functools import cached_property

import httpx

from demo.listening import client


class Desk:
    """The replies that are being written, by page; all in one event loop."""

    def __init__(self) -> None:
        self._stops: dict[str | None, asyncio.Event] = {}

    @cached_property
    def http(self) -> httpx.AsyncClient:
        """Made when first used, inside the loop that uses it."""
        return client()

    def begin(self, page: str | None) -> asyncio.Event:
        """Stop what this page is hearing, and give the new reply its event."""
        self.stop(page)
        stop = self._stops[page] = asyncio.Event()
        return stop

    def stop(self, page: str | None) -> None:
        """End the page's reply; what was heard of it stays."""
        if stop := self._stops.get(page):
            stop.set()

    def leave(self, page: str | None) -> None:
        """End the page's reply and show no more of it: another chat is open, or the page gone."""
        self.stop(page)
        self._stops.pop(page, None)

    def serves(self, page: str | None, stop: asyncio.Event) -> bool:
        """Whether the reply with this event is still the one that the page waits for."""
        return self._stops.get(page) is stop
