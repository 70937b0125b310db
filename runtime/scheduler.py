"""Who computes when: one generation at a time, and a bounded queue before it.

In: replies that are ready to be read. Out: their pieces, in the event loop. Refused: a generation
beyond the queue (QueueFull). A generation whose reader left stops within one step.
"""

import asyncio
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from runtime.engine import Piece, Reply


class QueueFull(Exception):
    """Too many generations wait."""

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"the queue is full; try again in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class Generation:
    """One reply on its way from the computing thread to its reader."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: list[Piece | Exception | None] = []
        self._arrived = asyncio.Event()
        self._cancelled = threading.Event()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """No token after the one that is being computed."""
        self._cancelled.set()

    async def pieces(self) -> AsyncIterator[Piece]:
        """The pieces as they come, those that wait together as one; ends early once cancelled."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            items, self._items = self._items, []
            if pieces := [item for item in items if isinstance(item, Piece)]:
                yield joined(pieces)
            for item in items:
                if isinstance(item, Exception):
                    raise item
                if item is None:
                    return

    def compute(self, reply: Reply) -> None:
        """Read the reply to its end; runs in the computing thread."""
        try:
            for piece in reply:
                self._hand_over(piece)
        except Exception as error:
            self._hand_over(error)

    def end(self) -> None:
        """Tell the reader that nothing follows."""
        self._hand_over(None)

    def _hand_over(self, item: Piece | Exception | None) -> None:
        self._loop.call_soon_threadsafe(self._arrive, item)

    def _arrive(self, item: Piece | Exception | None) -> None:
        self._items.append(item)
        self._arrived.set()


def joined(pieces: Sequence[Piece]) -> Piece:
    text = "".join(piece.text for piece in pieces)
    return Piece(text, pieces[-1].finish_reason, sum(piece.tokens for piece in pieces))


class Scheduler:
    """Runs generations in one thread, in the order in which they were admitted."""

    def __init__(self, queue: int) -> None:
        self._limit = 1 + queue
        self._active: set[Generation] = set()
        self._thread = ThreadPoolExecutor(1, "generation")
        self._last_s = 1.0
        self._stopping = False

    def require_room(self) -> None:
        """Raise QueueFull when one more generation would not be admitted."""
        if sum(not generation.cancelled() for generation in self._active) >= self._limit:
            raise QueueFull(max(1, math.ceil(self._last_s)))

    def admit(self, generation: Generation, reply: Reply) -> None:
        """Queue a generation; its pieces come when its turn has come."""
        self.require_room()
        if self._stopping:
            generation.cancel()
        self._active.add(generation)
        self._thread.submit(self._run, asyncio.get_running_loop(), generation, reply)

    def _run(self, loop: asyncio.AbstractEventLoop, generation: Generation, reply: Reply) -> None:
        started = time.monotonic()
        generation.compute(reply)
        if not generation.cancelled():
            self._last_s = time.monotonic() - started
        # In this order, whoever has read the end finds the place free.
        loop.call_soon_threadsafe(self._active.discard, generation)
        generation.end()

    def stop(self) -> None:
        """Cancel every generation; what is admitted later is cancelled at once."""
        self._stopping = True
        for generation in self._active:
            generation.cancel()

    def close(self) -> None:
        """Stop, and wait until the computing thread is free."""
        self.stop()
        self._thread.shutdown(wait=True)
