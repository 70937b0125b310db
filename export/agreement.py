"""How far apart two readers of the same tokens are: Kullback-Leibler divergence and top-1.

In: token ids and sources of logits by name, each run once, chunk by chunk, side by side: nothing
but one chunk of each is held, and of the file that writes the replies one conversation. Out:
figures of each neighbouring pair.

Shapes: N positions of a chunk, V vocabulary, T positions of a conversation, D width.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from export.session import Session, chunks

TEXT = "text"
Source = Callable[[Sequence[int]], Iterator[np.ndarray]]


@dataclass(frozen=True)
class Passage:
    """Tokens of one conversation; from `reply` on they are a model's own greedy reply."""

    tokens: list[int]
    reply: int
    ended: bool


@dataclass
class Agreement:
    """A running comparison of a candidate with its reference; absence has no figures."""

    reference: str
    candidate: str
    divergence: float = 0.0
    worst: float = 0.0
    same: int = 0
    positions: int = 0
    prefixes: list[float] = field(default_factory=list)
    ends: list[bool] = field(default_factory=list)
    conversations: list[tuple[float, int, int]] = field(default_factory=list)

    def add(self, passage: Passage, divergence_T: np.ndarray, same_T: np.ndarray) -> None:
        """Take one conversation; row `t` predicts token `t + 1`."""
        self.divergence += float(divergence_T.sum())
        self.worst = max(self.worst, float(divergence_T.max()))
        self.same += int(same_T.sum())
        self.positions += len(same_T)
        sums = float(divergence_T.sum()), int(same_T.sum()), len(same_T)
        self.conversations.append(sums)
        # One of the two wrote the reply greedily: they agree as long as their best tokens do.
        reply = same_T[passage.reply - 1 :]
        if len(reply):
            self.prefixes.append(float(np.logical_and.accumulate(reply).mean()))
            if passage.ended:
                self.ends.append(bool(reply[-1]))

    def figures(self) -> dict[str, Any]:
        assert self.positions, "a comparison has at least one position"
        return {
            "reference": self.reference,
            "candidate": self.candidate,
            "positions": self.positions,
            "mean_kld": self.divergence / self.positions,
            "max_kld": self.worst,
            "top1": self.same / self.positions,
            "greedy_prefix": mean(self.prefixes),
            "end_of_turn": mean(self.ends),
        }


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def compare(
    sources: dict[str, Source],
    passages: Iterable[Passage],
    seen: Callable[[Any], Any],
    *,
    spared: str | None = None,
    reads: Counter[str] | None = None,
) -> list[Agreement]:
    """Each source against the one before it; `seen` wraps the passages, to show progress.

    The first source may be spared: it reads the first passage, and then as many as make half of
    the text. `reads` counts the tokens that each source read, and the text's own.
    """
    pairs = {pair: Agreement(*pair) for pair in pairwise(sources)}
    reads = Counter() if reads is None else reads
    for passage in seen(passages):
        # The last position predicts what nobody wrote.
        tokens = passage.tokens[:-1]
        reads[TEXT] += len(passage.tokens)
        due = [name for name in sources if name != spared or is_due(reads, name, passage)]
        reads.update(dict.fromkeys(due, len(passage.tokens)))
        rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in due[1:]]
        for logits in zip(*(sources[name](tokens) for name in due), strict=True):
            for place, (reference_NV, candidate_NV) in enumerate(pairwise(logits)):
                rows[place].append(difference(reference_NV, candidate_NV))
        for names, parts in zip(pairwise(due), rows, strict=True):
            divergence_T, same_T = (np.concatenate(part) for part in zip(*parts, strict=True))
            pairs[names].add(passage, divergence_T, same_T)
    return list(pairs.values())


def is_due(reads: Counter[str], name: str, passage: Passage) -> bool:
    """Whether a spared source reads this passage, which `reads` counts in the text already."""
    return not reads[name] or 2 * (reads[name] + len(passage.tokens)) <= reads[TEXT]


def difference(reference_NV: np.ndarray, candidate_NV: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """KL(reference || candidate) in nats `[N]`, and whether the best tokens are the same `[N]`."""
    reference, candidate = log_softmax(reference_NV), log_softmax(candidate_NV)
    divergence_N = (np.exp(reference) * (reference - candidate)).sum(axis=1)
    return divergence_N, reference_NV.argmax(axis=1) == candidate_NV.argmax(axis=1)


def log_softmax(logits_NV: np.ndarray) -> np.ndarray:
    wide: np.ndarray = logits_NV.astype(np.float64)
    shifted: np.ndarray = wide - wide.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


class Writer:
    """A file that writes greedy replies; what it computed in writing is its reading of them."""

    def __init__(self, session: Session) -> None:
        self.session, self.ends = session, session.ends
        self._tokens: list[int] = []
        self._rows_TV = np.empty((0, 0), np.float32)

    def greedy(self, prompt: Sequence[int], limit: int) -> list[int]:
        """The most likely continuation, at most `limit` tokens, with the end token if it came."""
        self.session.restart()
        rows = [self.session.read(chunk) for chunk in chunks(prompt, self.session.batch)]
        reply: list[int] = []
        while len(reply) < limit:
            reply.append(int(rows[-1][-1].argmax()))
            if self.ends(reply[-1]) or len(reply) == limit:
                break
            rows.append(self.session.read(reply[-1:]))
        self._tokens, self._rows_TV = [*prompt, *reply], np.concatenate(rows)
        return reply

    def __call__(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """The rows of what it wrote last; it reads nothing again."""
        assert list(tokens) == self._tokens[: len(tokens)], "it reads what it wrote last"
        for start in range(0, len(tokens), self.session.batch):
            yield self._rows_TV[start : min(start + self.session.batch, len(tokens))]


def rows_of_file(session: Session) -> Source:
    """Logits of an opened file."""

    def read(tokens: Sequence[int]) -> Iterator[np.ndarray]:
        session.restart()
        for chunk in chunks(tokens, session.batch):
            yield session.read(chunk)

    return read


def rows_of_torch(model: Any, batch: int) -> Source:
    """Logits of a torch model: one pass, then the head chunk by chunk."""
    import torch

    @torch.no_grad()
    def read(tokens: Sequence[int]) -> Iterator[np.ndarray]:
        hidden_TD = model.base_model(torch.tensor([list(tokens)]), use_cache=False)[0][0]
        for chunk_ND in hidden_TD.split(batch):
            logits_NV = model.get_output_embeddings()(chunk_ND).float()
            yield behind_the_head(logits_NV, model.config).numpy()

    return read


def behind_the_head(logits_NV: Any, config: Any) -> Any:
    """What some architectures do to logits: Granite's scale, Gemma 2's cap."""
    logits_NV = logits_NV / (getattr(config, "logits_scaling", None) or 1)
    cap = getattr(config, "final_logit_softcapping", None)
    return cap * (logits_NV / cap).tanh() if cap else logits_NV
