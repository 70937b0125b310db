"""Logits of a reference, computed once and kept on disk for every candidate after it.

In: a source of logits, passages, a file. Out: the same rows again, as a source; in float32, so
that a candidate's figures are what they would be side by side.

Shapes: N positions of a chunk, V vocabulary.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from export.agreement import Agreement, Passage, Source, compare
from export.conversations import Messages

MOST_BYTES = 2 * 10**9
TYPICAL_TOKENS = 160


def affordable(conversations: Sequence[Messages], vocabulary: int) -> int:
    """Of how many conversations the logits fit into two gigabytes, by a typical length."""
    return max(1, min(len(conversations), MOST_BYTES // (4 * vocabulary * TYPICAL_TOKENS)))


def size_of(conversations: Sequence[Messages], vocabulary: int) -> int:
    """Bytes that their logits take on the disk, by the same typical length."""
    return affordable(conversations, vocabulary) * 4 * vocabulary * TYPICAL_TOKENS


class Recorded:
    """Rows of every passage, read once from `source`."""

    def __init__(self, source: Source, passages: Iterable[Passage], path: Path) -> None:
        self.path, self.passages = path, list[Passage]()
        self._starts: dict[tuple[int, ...], tuple[int, list[int]]] = {}
        self._vocabulary, total = 0, 0
        with path.open("wb") as file:
            for passage in passages:
                tokens, sizes = tuple(passage.tokens[:-1]), []
                for rows_NV in source(tokens):
                    rows_NV.astype(np.float32, copy=False).tofile(file)
                    self._vocabulary = rows_NV.shape[1]
                    sizes.append(len(rows_NV))
                self.passages.append(passage)
                self._starts[tokens] = total, sizes
                total += sum(sizes)

    def __call__(self, tokens: Sequence[int]) -> Iterator[np.ndarray]:
        """The rows of a passage, in the chunks in which they came."""
        start, sizes = self._starts[tuple(tokens)]
        for size in sizes:
            yield np.fromfile(
                self.path,
                np.float32,
                size * self._vocabulary,
                offset=4 * start * self._vocabulary,
            ).reshape(size, self._vocabulary)
            start += size

    def against(self, name: str, candidate: Source) -> Agreement:
        """How far a candidate is from what was recorded."""
        sources: dict[str, Source] = {"reference": self, name: candidate}
        (pair,) = compare(sources, self.passages, iter)
        return pair
