"""An ONNX folder as the gate reads it: token ids, template, special tokens, logits.

In: a folder that the ONNX export wrote. Out: what `export.session.Session` gives for a GGUF file,
by plain onnxruntime: the same backend that will serve it. Refused: a folder that the runtime does
not open (CheckFailed).

Shapes: N positions of one call, V vocabulary.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from distill.core.errors import CheckFailed, KindredError
from distill.core.machine import physical_cores
from export.session import Session
from runtime.backends.onnx import Onnx
from runtime.backends.onnx_graph import Graph
from runtime.backends.onnx_tokens import TOKENIZER


class OnnxSession(Session):
    """One opened folder; use it in a `with` block."""

    def __init__(self, path: Path, *, context: int, batch: int) -> None:
        self.path, self.batch, self._past = path, batch, 0
        try:
            self._backend = Onnx(path, context=context, threads=physical_cores())
        except KindredError as error:
            raise CheckFailed(f"the runtime does not open {path}: {error}") from error
        self._graph: Graph = self._backend.graph
        # As the file's reader elsewhere has it: special tokens that are spelled out are parsed.
        self._tokenizer = Tokenizer.from_file(str(path / TOKENIZER))
        self._tokenizer.no_truncation()
        self.vocabulary_size = self._backend.vocabulary

    def __exit__(self, *_: object) -> None:
        self._backend.close()

    def tokens(self, text: str, *, add_special: bool = False) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special).ids
        return ids

    def token_text(self, token: int) -> str:
        return self._tokenizer.id_to_token(token) or ""

    def ends(self, token: int) -> bool:
        return self._backend.is_end(token)

    def control(self) -> list[int]:
        return list(self._backend.control.values())

    def special(self) -> dict[str, int]:
        texts = {"bos": self._backend.begin_text, "eos": self._backend.end_text}
        known = {name: self._tokenizer.token_to_id(text) for name, text in texts.items() if text}
        return {name: -1 if (id_ := known.get(name)) is None else id_ for name in texts}

    def template(self) -> str | None:
        return self._backend.template

    def restart(self) -> None:
        self._past = 0

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        logits_NV = self._graph.read(tokens, past=self._past)
        self._past += len(tokens)
        return logits_NV
