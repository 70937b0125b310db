"""What each sequence of a backend holds, and which one a new prompt should continue.

In: the tokens of a prompt. Out: a `Slot` that holds as much of their beginning as any chat left in
the cache. A chat that goes on continues its own slot; another chat with the same beginning gets a
copy, so that neither destroys what the other holds. The slot that was idle longest is cleared
first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

from runtime.backends import Backend

# Of a finished reply, the next prompt may spell the last few tokens differently.
TAIL = 8


@dataclass(eq=False)
class Slot:
    """One sequence: the first `held` of `tokens` are in the cache."""

    sequence: int
    tokens: Sequence[int] = field(default_factory=list)
    held: int = 0
    busy: bool = False
    used: int = 0


class Cache:
    """The slots of one backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._clock = count(1)
        self.slots = [Slot(sequence) for sequence in range(backend.sequences)]

    def tokens_held(self) -> int:
        """Tokens that all slots hold; what several share is counted for each."""
        return sum(slot.held for slot in self.slots)

    def take(self, tokens: Sequence[int]) -> Slot:
        """An idle slot, made busy, with the longest beginning of `tokens` that can be had.

        At least the last token is left to evaluate.
        """
        wanted = tokens[:-1]
        shared = {slot: common_length(slot.tokens, wanted, slot.held) for slot in self.slots}
        best = max(self.slots, key=lambda slot: (shared[slot], -slot.held))
        slot = self._own(best, shared[best])
        if slot is best:
            slot.held = self._backend.keep(slot.sequence, shared[best])
        else:
            self.clear(slot)
            if shared[best]:
                slot.held = self._backend.copy(best.sequence, slot.sequence, shared[best])
        slot.tokens, slot.busy, slot.used = tokens, True, next(self._clock)
        return slot

    def _own(self, best: Slot, shared: int) -> Slot:
        """The best slot if its chat goes on, otherwise the idle one that is missed least."""
        if not best.busy and best.held - shared <= TAIL:
            return best
        idle = [slot for slot in self.slots if not slot.busy]
        return min(idle, key=lambda slot: slot.used if slot.held else 0)

    def release(self, slot: Slot) -> None:
        """Its reply has ended; what it holds stays for the next turn."""
        slot.busy, slot.used = False, next(self._clock)

    def clear(self, slot: Slot) -> None:
        if slot.held:
            self._backend.keep(slot.sequence, 0)
        slot.tokens, slot.held = [], 0

    def reset(self) -> None:
        """Hold nothing, whatever the backend held."""
        for slot in self.slots:
            self._backend.keep(slot.sequence, 0)
            slot.tokens, slot.held, slot.busy = [], 0, False

    def forget_oldest(self) -> bool:
        """Clear the idle slot that was used longest ago; False when there is none."""
        idle = [slot for slot in self.slots if not slot.busy and slot.held]
        if idle:
            self.clear(min(idle, key=lambda slot: slot.used))
        return bool(idle)


def common_length(first: Sequence[int], second: Sequence[int], limit: int) -> int:
    """How many tokens two sequences share at their start, `limit` at most."""
    limit = min(limit, len(first), len(second))
    if first[:limit] == second[:limit]:
        return limit
    pairs = zip(first, second, strict=False)
    return next(place for place, (a, b) in enumerate(pairs) if a != b)
