"""A backend that says what a test tells it to: the engine's public seam, without a file."""

import re
import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.backends import CacheFull, Sampling, Work

CONTROL = ("<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class ScriptedBackend:
    """Chooses the tokens of `script` in turn, then ends.

    Control tokens have the ids from 256, every other token is the byte with its id. With `gate`,
    each choice first waits for one permit. `log` holds what was evaluated, kept and copied;
    `held` the tokens of each sequence. `logits` favour the token that is due, by 10.
    """

    repetition_penalty = 1.0

    def __init__(
        self,
        script: Sequence[int | bytes],
        *,
        context: int = 1000,
        template: str | None = TEMPLATE,
        begin: str | None = None,
        gate: threading.Semaphore | None = None,
        rewinds: bool = True,
        sequences: int = 1,
        cells: int = 10_000,
        chunk: int = 4,
    ) -> None:
        self.sequences, self.cells, self.chunk = sequences, cells, chunk
        self.context, self.template, self.gate, self.rewinds = context, template, gate, rewinds
        texts = CONTROL if begin is None else (*CONTROL, begin)
        self.control = {text: 256 + place for place, text in enumerate(texts)}
        self.swallowing: frozenset[int] = frozenset()
        self.begin = None if begin is None else self.control[begin]
        self.begin_text, self.end_text = begin or "", "<|end|>"
        self.script = [t for part in script for t in (part if isinstance(part, bytes) else [part])]
        self.vocabulary = 256 + len(self.control)
        self.held: list[list[int]] = [[] for _ in range(sequences)]
        self.log: list[tuple[str, int]] = []
        self.passes: list[list[tuple[int, int]]] = []
        self.due: list[int] = []
        self.chosen = 0
        self.choosing = threading.Semaphore(0)
        self.fails = False
        self.closed = False

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def bytes_of(self, token: int) -> bytes:
        return bytes([token]) if token < 256 else b""

    def is_end(self, token: int) -> bool:
        return token == self.control["<|end|>"]

    @property
    def cached(self) -> list[int]:
        """What the first sequence holds."""
        return self.held[0]

    def keep(self, sequence: int, count: int) -> int:
        kept = count if self.rewinds else 0
        self.log.append(("keep", kept))
        del self.held[sequence][kept:]
        return kept

    def copy(self, source: int, target: int, count: int) -> int:
        assert not self.held[target]
        self.log.append(("copy", count))
        self.held[target] = self.held[source][:count]
        return count

    def decode(self, work: Sequence[Work]) -> None:
        assert sum(len(item.tokens) for item in work) <= self.chunk
        assert len({item.sequence for item in work}) == len(work)
        if self.fails:
            raise RuntimeError("scripted failure")
        new = sum(len(item.tokens) for item in work)
        if sum(map(len, self.held)) + new > self.cells:
            raise CacheFull
        self.passes.append([(item.sequence, len(item.tokens)) for item in work])
        for item in work:
            assert item.tokens
            assert len(self.held[item.sequence]) == item.position
            self.log.append(("evaluate", len(item.tokens)))
            self.held[item.sequence] += item.tokens

    def logits(self, row: int) -> NDArray[np.float32]:
        found = np.zeros(self.vocabulary, np.float32)
        found[self.due[row]] = 10
        return found

    def sampler(self, sampling: Sampling) -> "ScriptedSampler":
        return ScriptedSampler(self)

    def close(self) -> None:
        self.closed = True

    def text_of(self, ids: Sequence[int]) -> str:
        """Ids as text, control tokens in brackets that no test types."""
        names = {token: f"⟦{re.sub('[<|>]', '', text)}⟧" for text, token in self.control.items()}
        parts = [names[i].encode() if i in names else bytes([i]) for i in ids]
        return b"".join(parts).decode()


class ScriptedSampler:
    """Reads the script from its start, for one reply."""

    def __init__(self, backend: ScriptedBackend) -> None:
        self.backend = backend
        self.rest = iter(backend.script)

    def next(self, row: int) -> int:
        self.backend.choosing.release()
        if self.backend.gate is not None:
            self.backend.gate.acquire()
        self.backend.chosen += 1
        token = next(self.rest, self.backend.control["<|end|>"])
        self.backend.due[row:] = [token]
        return token

    def close(self) -> None:
        """Nothing is held."""
