"""Who computes when: as many generations as the engine takes together, and a bounded queue.

In: replies that are ready to be read. Out: their pieces, in the event loop. Refused: a generation
beyond the queue (QueueFull). A generation whose reader left stops within one step.
"""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from runtime.engine import Piece, Reply
from runtime.engine_reply import Item

# A reader looks again after this long at the earliest: on a machine whose cores compute tokens,
# waking it for each one costs more tokens than anyone could read.
GAP_S = 0.008


class QueueFull(Exception):
    """Too many generations wait."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Generation:
    """One reply on its way from the computing thread to its reader in the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._waiting = False
        self._cancelled = threading.Event()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """No token after the one that is being computed."""
        self._cancelled.set()

    def take(self, item: Item) -> None:
        """Hand an item over; called in the computing thread."""
        self._items.append(item)
        if self._waiting:  # read after the append, set before the reader looks: none is missed
            self._waiting = False
            try:
                self._loop.call_soon_threadsafe(self._arrived.set)
            except RuntimeError:  # the loop is closed, so nobody reads
                self.cancel()

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they come, those that wait together as one; ends early once cancelled."""
        while True:
            items = await self._next()
            if pieces := [item for item in items if isinstance(item, Piece)]:
                yield joined(pieces)
            last = items[-1]
            if isinstance(last, Exception):
                raise last
            if last is None:
                return
            await asyncio.sleep(GAP_S)

    async def _next(self) -> list[Item]:
        """All items that have arrived, at least one."""
        while True:
            self._arrived.clear()
            self._waiting = True
            if self._items:
                break
            await self._arrived.wait()
        self._waiting = False
        return [self._items.popleft() for _ in range(len(self._items))]


def joined(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        "".join(piece.text for piece in pieces),
        pieces[-1].finish_reason,
        sum(piece.tokens for piece in pieces),
        tuple(choice for piece in pieces for choice in piece.choices),
    )


class Scheduler:
    """Admits `parallel` generations and `queue` more; the engine takes them in that order."""

    def __init__(self, queue: int, parallel: int = 1) -> None:
        self._limit = parallel + queue
        self._active: dict[Generation, Reply] = {}  # a reply that nobody holds would end
        self._last_s = 1.0
        self._stopping = False

    def require_room(self) -> None:
        """Raise QueueFull when one more generation would not be admitted."""
        if sum(not generation.cancelled() for generation in list(self._active)) >= self._limit:
            raise QueueFull(max(1, math.ceil(self._last_s)))

    def admit(self, generation: Generation, reply: Reply) -> None:
        """Begin a generation; its pieces come when its turn has come."""
        self.require_room()
        if self._stopping:
            generation.cancel()
        self._active[generation] = reply
        reply.begin(self._deliverer(generation))

    def _deliverer(self, generation: Generation) -> Callable[[Item], None]:
        started = time.monotonic()

        def deliver(item: Item) -> None:
            if not isinstance(item, Piece):
                if not generation.cancelled():
                    self._last_s = time.monotonic() - started
                # Before the end is told: whoever has read it finds the place free.
                self._active.pop(generation, None)
            generation.take(item)

        return deliver

    def active(self) -> int:
        """Generations that run or wait."""
        return len(self._active)

    def stop(self) -> None:
        """Cancel every generation; what is admitted later is cancelled at once."""
        self._stopping = True
        for generation in list(self._active):
            generation.cancel()
