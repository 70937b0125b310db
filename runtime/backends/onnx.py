"""A folder with an ONNX decoder, its tokenizer and its chat template, as a `Backend`.

In: a folder that was checked before. Out: the next tokens of several sequences, by onnxruntime,
numpy and the tokenizers library alone. Refused: a folder that is not whole, or of another form.
Every sequence has cells of its own, so none are ever missing; a copied beginning is copied.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from runtime.backends import Sampling, Work
from runtime.backends.onnx_graph import Graph
from runtime.backends.onnx_sampling import NumpySampler
from runtime.backends.onnx_tokens import TEMPLATE, Tokens, named_token
from runtime.sampling import REPETITION_PENALTIES

CHUNK = 128  # logits of a whole chunk are held, and a vocabulary may have 150,000 tokens


class Onnx:
    """One folder, `sequences` sequences of `context` tokens each."""

    chunk = CHUNK
    # What starts a prompt is in the chat template, as everywhere in Hugging Face.
    begin: int | None = None

    def __init__(self, folder: Path, *, context: int, threads: int, sequences: int = 1) -> None:
        self._tokens = Tokens(folder)
        self.graph = Graph(folder, context=context, threads=threads, sequences=sequences)
        self.context, self.sequences = self.graph.context, sequences
        self.cells = self.context * sequences
        self.vocabulary = self.graph.vocabulary
        self.template = template_of(folder)
        self.control, self.swallowing = self._tokens.control, self._tokens.swallowing
        self.begin_text = named_token(folder, "bos_token")
        self.end_text = named_token(folder, "eos_token")
        self.ends = ends_of(self.graph)
        self.repetition_penalty = recommended(self.graph)
        self._held = [0] * sequences
        self._rows: list[NDArray[np.float32] | None] = []
        self.encode, self.bytes_of = self._tokens.encode, self._tokens.bytes_of

    def is_end(self, token: int) -> bool:
        return token in self.ends

    def decode(self, work: Sequence[Work]) -> None:
        """Single tokens go through the graph together, longer texts one after another."""
        self._rows = [None] * len(work)
        for row, item in enumerate(work):
            if len(item.tokens) > 1:
                read = self.graph.read(item.tokens, past=item.position, sequence=item.sequence)
                self._rows[row] = read[-1].copy()
                self._held[item.sequence] = item.position + len(item.tokens)
        single = {item.sequence: row for row, item in enumerate(work) if len(item.tokens) == 1}
        if single:
            tokens = {sequence: work[row].tokens[0] for sequence, row in single.items()}
            for sequence, logits_V in self.graph.step(tokens, self._held).items():
                self._rows[single[sequence]] = logits_V
        for sequence in single:
            self._held[sequence] += 1

    def logits(self, row: int) -> NDArray[np.float32]:
        found = self._rows[row]
        assert found is not None, "every item of a pass has logits"
        return found

    def keep(self, sequence: int, count: int) -> int:
        self._held[sequence] = min(count, self._held[sequence])
        return self._held[sequence]

    def copy(self, source: int, target: int, count: int) -> int:
        self.graph.copy(source, target, count)
        self._held[target] = count
        return count

    def sampler(self, sampling: Sampling) -> NumpySampler:
        return NumpySampler(self.logits, sampling)

    def close(self) -> None:
        self.graph.close()


def template_of(folder: Path) -> str | None:
    path = folder / TEMPLATE
    try:
        # Text mode would turn other line ends into `\n`, and a template is compared by its bytes.
        return path.read_bytes().decode("utf-8") if path.exists() else None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8; export it again") from error


def ends_of(graph: Graph) -> frozenset[int]:
    ends = graph.config["model"].get("eos_token_id")
    return frozenset(ends if isinstance(ends, list) else [ends])


def recommended(graph: Graph) -> float:
    """The repetition penalty that the folder recommends; 1 where it is absent or none."""
    found = graph.config.get("search", {}).get("repetition_penalty", 1.0)
    least, most = REPETITION_PENALTIES
    usable = isinstance(found, int | float) and least <= found <= most
    return float(found) if usable else 1.0
