"""How far apart two readers of the same tokens are: Kullback-Leibler divergence and top-1.

In: token ids and sources of logits, each run once, chunk by chunk, side by side: nothing but one
chunk of each is ever held. Out: figures of each neighbouring pair.

Shapes: N positions of a chunk, V vocabulary, T positions of a conversation, D width.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from export.session import Session, chunks

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

    def add(self, passage: Passage, divergence_T: np.ndarray, same_T: np.ndarray) -> None:
        """Take one conversation; row `t` predicts token `t + 1`."""
        self.divergence += float(divergence_T.sum())
        self.worst = max(self.worst, float(divergence_T.max()))
        self.same += int(same_T.sum())
        self.positions += len(same_T)
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
    sources: dict[str, Source], passages: Sequence[Passage], seen: Callable[[Any], Any]
) -> list[Agreement]:
    """Each source against the one before it; `seen` wraps the passages, to show progress."""
    pairs = [Agreement(reference, candidate) for reference, candidate in pairwise(sources)]
    for passage in seen(passages):
        rows: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in pairs]
        # The last position predicts what nobody wrote.
        readers = [source(passage.tokens[:-1]) for source in sources.values()]
        for logits in zip(*readers, strict=True):
            for place, (reference_NV, candidate_NV) in enumerate(pairwise(logits)):
                rows[place].append(difference(reference_NV, candidate_NV))
        for pair, parts in zip(pairs, rows, strict=True):
            divergence_T, same_T = (np.concatenate(part) for part in zip(*parts, strict=True))
            pair.add(passage, divergence_T, same_T)
    return pairs


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
            yield model.get_output_embeddings()(chunk_ND).float().numpy()

    return read
