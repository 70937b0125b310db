"""Several addresses of the same service share the calls: each goes to the least busy one.

In: base URLs. Out: `turn()`, a context that yields one of them. An address that fails rests for
`REST_S`, so that a dead machine, which refuses quickly, does not draw every call to itself.
"""

import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from distill.core.errors import Unavailable
from distill.core.progress import say

REST_S = 30.0
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
Answer = TypeVar("Answer")


def closed_with(owner: object, clients: Mapping[str, Any]) -> Mapping[str, Any]:
    """The clients, whose connections are closed when their owner is no more."""
    weakref.finalize(owner, close_all, list(clients.values()))
    return clients


def close_all(clients: Sequence[Any]) -> None:
    for client in clients:
        client.close()


class Sharing:
    """Who is busy and who rests, for threads that call at the same time."""

    def __init__(self, urls: Sequence[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.urls, self.clock, self.lock = tuple(urls), clock, threading.Lock()
        self.busy = dict.fromkeys(urls, 0)
        self.last_turn = dict.fromkeys(urls, 0)
        self.rests_until = dict.fromkeys(urls, float("-inf"))
        self.turns = 0

    def ask(self, call: Callable[[str], Answer]) -> Answer:
        """The answer of the least busy address; of the next one when that is unavailable."""
        tried: set[str] = set()
        while True:
            with self.turn(tried) as url:
                tried.add(url)
                try:
                    return call(url)
                except Unavailable as error:
                    if len(tried) == len(self.urls):
                        raise
                    self.rest(url, error)

    @contextmanager
    def turn(self, tried: set[str]) -> Iterator[str]:
        with self.lock:
            url = min((url for url in self.urls if url not in tried), key=self.order)
            self.turns += 1
            self.last_turn[url] = self.turns
            self.busy[url] += 1
        try:
            yield url
        finally:
            with self.lock:
                self.busy[url] -= 1

    def order(self, url: str) -> tuple[bool, int, int]:
        return self.rests_until[url] > self.clock(), self.busy[url], self.last_turn[url]

    def rest(self, url: str, error: Unavailable) -> None:
        with self.lock:
            fresh = self.rests_until[url] <= self.clock()
            self.rests_until[url] = self.clock() + REST_S
        if fresh:
            say(f"{error}; {url} rests for {REST_S:g} s, the others go on")
