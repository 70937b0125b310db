"""Continuous batching: one thread that computes all replies together, a step at a time.

In: tasks, in the order in which their replies began. Out: pieces, delivered as they are chosen.
Each step is one pass through the model: one token of every reply that is being written, and a
slice of the prompts that are being read, so that neither waits for the other's end. A reply that
is alone and has been begun by its reader is written in that reader's thread, since waking one
thread from another costs a tenth of a small model's token; whoever joins it ends that.
"""

import threading
from collections import deque
from queue import SimpleQueue
from typing import NamedTuple

from runtime.backends import Backend, CacheFull, Work
from runtime.engine_cache import Cache, Slot
from runtime.engine_reply import YOURS, Chance, Choice, Task
from runtime.sampling import likeliest, log_probabilities

# Prompt tokens per step while a reply is being written: its reader waits that much longer for the
# next token.
SLICE = 64
# Room for growth that a reply must find before it joins others.
MARGIN = 64


class Meaning(NamedTuple):
    is_end: bool
    data: bytes


class Active(NamedTuple):
    task: Task
    slot: Slot


class Batcher:
    """Owns the backend; steps are taken by one thread at a time, which holds `_turn`.

    `lock` guards the rest: whoever uses the backend's vocabulary elsewhere holds it.
    """

    def __init__(self, backend: Backend, parallel: int) -> None:
        self.parallel = parallel
        self.lock = threading.RLock()
        self._turn = threading.Lock()
        # Its `put` may interrupt anything, itself too, as finalizers and signal handlers do.
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._reader: Task | None = None  # the reply that its reader writes
        self._torn: Task | None = None  # one whose reader's step has not come to its end
        self._stepper = 0  # the reader's thread, within a step
        self._backend, self._cache = backend, Cache(backend)
        self._waiting: deque[Task] = deque()
        self._active: list[Active] = []
        self._meanings: dict[int, Meaning] = {}
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        return self._closing

    def counts(self) -> tuple[int, int, int]:
        """Replies that are computed, replies that wait, and tokens in the cache."""
        return len(self._active), len(self._waiting), self._cache.tokens_held()

    def begin(self, task: Task) -> None:
        with self.lock:
            if self._closing:
                raise closed()
            self._waiting.append(task)
        self._take_back()

    def drop(self, task: Task) -> None:
        """Its reader is gone; may be called from anywhere."""
        task.dropped = True
        if self._reader is task:
            self._take_back()

    def close(self) -> None:
        """End every reply and free the backend; waits for a step in progress."""
        self._closing = True
        self._take_back()
        if threading.get_ident() not in (self._thread.ident, self._stepper):
            self._thread.join()

    def write(self, task: Task) -> bool:
        """Take a step of a reply in its reader's thread; False where that is not the reader's."""
        if self._reader is not task:
            return False
        unwanted = task.unwanted()
        with self._turn:
            if unwanted or self._torn:
                self._take_back()
            if self._reader is not task:
                return False
            self._torn, self._stepper = task, threading.get_ident()
            try:
                each = self._active[0]
                self._compute([piece_of_work(each, 1)], [each])
            finally:
                self._stepper = 0
            self._torn = None
            if not self._active:
                self._reader = None
        return True

    def _take_back(self) -> None:
        self._reader = None
        self._bell.put(None)

    def _offer(self) -> None:
        """Leave a reply that is alone to its reader, from its first token on.

        What `begin`, `drop` and `close` set before they take it back is looked at after it is
        given, so that neither side can miss the other.
        """
        if len(self._active) == 1:
            task, slot = self._active[0]
            if task.awaited and len(task.sequence) - slot.held == 1:
                self._reader = task
                if self._waiting or self._closing or task.dropped:
                    self._reader = None
                else:
                    task.deliver(YOURS)

    def _run(self) -> None:
        try:
            while self._wait():
                with self._turn:
                    if self._torn:
                        self._start_over(self._torn)
                    self._step()
                    self._offer()
        finally:  # also after a mistake of ours: no reader may wait for a thread that is gone
            with self._turn, self.lock:
                self._closing, self._reader = True, None
                torn = [self._torn] if self._torn else []
                for task in [*torn, *(each.task for each in self._active), *self._waiting]:
                    task.end(closed())
                self._backend.close()

    def _wait(self) -> bool:
        """Wait until there is something to compute; False once the engine closes."""
        while not self._closing and (self._reader or not (self._waiting or self._active)):
            self._bell.get()
        return not self._closing

    def _start_over(self, torn: Task) -> None:
        """A reader's step was broken into (by Ctrl-C): nothing that it may have touched is kept."""
        self._torn = None
        self._active.clear()
        self._cache.reset()
        torn.end(RuntimeError("the reply was interrupted"))

    def _step(self) -> None:
        self._drop_unwanted()
        self._admit()
        work, workers = self._plan()
        if work:
            self._compute(work, workers)

    def _compute(self, work: list[Work], workers: list[Active]) -> None:
        try:
            self._backend.decode(work)
        except CacheFull:
            self._make_room()
        except Exception as error:
            for each in workers:
                self._fail(each, error)
        else:
            for row, (item, each) in enumerate(zip(work, workers, strict=True)):
                each.slot.held += len(item.tokens)
                if item.wants_logits:
                    self._advance(each, row)

    def _drop_unwanted(self) -> None:
        for task in list(self._waiting):
            if task.unwanted():
                self._waiting.remove(task)
                task.end()
        for each in list(self._active):
            if each.task.unwanted():
                self._leave(each)

    def _admit(self) -> None:
        while self._waiting and len(self._active) < self.parallel and self._has_room():
            task = self._waiting.popleft()
            slot = self._cache.take(task.sequence)
            if not task.begun_s:
                task.begin(slot.held)
            self._active.append(Active(task, slot))

    def _has_room(self) -> bool:
        """Whether the next reply fits beside the others; alone, every reply does."""
        tasks = [self._waiting[0], *(each.task for each in self._active)]
        needed = sum(len(task.sequence) + MARGIN for task in tasks)
        return not self._active or needed <= self._backend.cells

    def _plan(self) -> tuple[list[Work], list[Active]]:
        """The tokens of one pass: one of each reply, then prompts in the order they came."""
        rests = [(each, len(each.task.sequence) - each.slot.held) for each in self._active]
        writing = [each for each, rest in rests if rest == 1]
        chunk = self._backend.chunk
        room = min(SLICE, chunk - len(writing)) if writing else chunk
        work = [piece_of_work(each, 1) for each in writing]
        workers = list(writing)
        for each, rest in rests:
            if rest > 1 and room:
                count = min(rest, room)
                work.append(piece_of_work(each, count))
                workers.append(each)
                room -= count
        return work, workers

    def _advance(self, each: Active, row: int) -> None:
        """Choose the next token of one reply."""
        task = each.task
        try:
            token = task.sampler.next(row)
            task.clock()
            meaning = self._meaning(token)
            if meaning.is_end:
                going = task.finish(task.flow.finish(), "stop")
            else:
                choices = () if task.logprobs is None else (self._choice(token, row, task),)
                going = task.take(token, meaning.data, choices)
        except Exception as error:
            self._fail(each, error)
        else:
            if not going:
                self._leave(each)

    def _choice(self, token: int, row: int, task: Task) -> Choice:
        logits = self._backend.logits(row)
        tokens = [token, *likeliest(logits, task.logprobs or 0)]
        chances = log_probabilities(logits, tokens)
        chosen, *others = (
            Chance(each, self._meaning(each).data, chance)
            for each, chance in zip(tokens, chances, strict=True)
        )
        return Choice(chosen, tuple(others))

    def _meaning(self, token: int) -> Meaning:
        found = self._meanings.get(token)
        if found is None:
            found = Meaning(self._backend.is_end(token), self._backend.bytes_of(token))
            self._meanings[token] = found
        return found

    def _make_room(self) -> None:
        """Give up an idle chat's cache, or let the youngest reply start over when there is room."""
        if self._cache.forget_oldest():
            return
        youngest = self._active.pop()
        self._release(youngest, keep=False)
        if self._active:
            self._waiting.appendleft(youngest.task)
        else:
            youngest.task.end(RuntimeError("the cache is full, though nothing else is in it"))

    def _leave(self, each: Active) -> None:
        self._active.remove(each)
        self._release(each)
        each.task.end()

    def _fail(self, each: Active, error: Exception) -> None:
        self._active.remove(each)
        self._release(each, keep=False)
        each.task.end(error)

    def _release(self, each: Active, keep: bool = True) -> None:
        if not keep:
            self._cache.clear(each.slot)
        self._cache.release(each.slot)


def piece_of_work(each: Active, count: int) -> Work:
    held, sequence = each.slot.held, each.task.sequence
    end = held + count
    return Work(each.slot.sequence, sequence[held:end], held, wants_logits=end == len(sequence))


def closed() -> RuntimeError:
    return RuntimeError("the engine is closed")
