"""A backend that says what a test tells it to: the engine's public seam, without a file."""

import re
import threading
from collections.abc import Sequence

from runtime.backends import Sampling

CONTROL = ("<|user|>", "<|assistant|>", "<|end|>")
TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class ScriptedBackend:
    """Chooses the tokens of `script` in turn, then ends.

    Control tokens have the ids from 256, every other token is the byte with its id. With `gate`,
    each choice first waits for one permit. `log` holds what was evaluated and kept.
    """

    chunk = 4
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
    ) -> None:
        self.context, self.template, self.gate, self.rewinds = context, template, gate, rewinds
        texts = CONTROL if begin is None else (*CONTROL, begin)
        self.control = {text: 256 + place for place, text in enumerate(texts)}
        self.begin = None if begin is None else self.control[begin]
        self.begin_text, self.end_text = begin or "", "<|end|>"
        self.script = [t for part in script for t in (part if isinstance(part, bytes) else [part])]
        self.cached: list[int] = []
        self.log: list[tuple[str, int]] = []
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

    def keep(self, count: int) -> int:
        kept = count if self.rewinds else 0
        self.log.append(("keep", kept))
        del self.cached[kept:]
        return kept

    def evaluate(self, tokens: Sequence[int]) -> None:
        assert len(tokens) <= self.chunk
        if self.fails:
            raise RuntimeError("scripted failure")
        self.log.append(("evaluate", len(tokens)))
        self.cached += tokens

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

    def next(self) -> int:
        self.backend.choosing.release()
        if self.backend.gate is not None:
            self.backend.gate.acquire()
        self.backend.chosen += 1
        return next(self.rest, self.backend.control["<|end|>"])

    def close(self) -> None:
        """Nothing is held."""
