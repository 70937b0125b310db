"""An exported file as llama.cpp reads it: token ids, template, special tokens, logits.

In: a file that Kindred wrote. Out: numpy logits `[N, V]` of every position. Refused: a file that
llama.cpp does not open (CheckFailed). Keys and values are cached in F32, so that a difference
is the file's and not the cache's.

Shapes: N positions of one call, V vocabulary.
"""

import ctypes
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import llama_cpp
import numpy as np

from distill.core.errors import CheckFailed
from distill.core.machine import physical_cores
from export.native_log import captured, reason

TEXT, FLAG = 3, 2
FLASH_ATTENTION_OFF = 0


class Session:
    """One opened file; use it in a `with` block."""

    def __init__(
        self,
        path: Path,
        *,
        context: int = 0,
        batch: int = 64,
        overrides: Mapping[str, str | bool] | None = None,
    ) -> None:
        """`context` 0 opens the vocabulary only; `overrides` replace metadata while reading."""
        self.path, self.batch, self._past = path, batch, 0
        self._model: Any = None
        self._context: Any = None
        params = llama_cpp.llama_model_default_params()
        params.vocab_only, params.n_gpu_layers = context == 0, 0
        # Repacked weights are computed in another order; the plain ones are what every device has.
        params.use_extra_bufts = False
        params.kv_overrides = override_array(overrides or {})
        with captured() as log:
            llama_cpp.llama_backend_init()
            self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
            if not self._model:
                raise CheckFailed(f"llama.cpp does not open {path}: {reason(log)}")
            self._vocabulary = llama_cpp.llama_model_get_vocab(self._model)
            self.vocabulary_size = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
            if context:
                self._context = self._new_context(context, log)

    def _new_context(self, context: int, log: list[str]) -> Any:
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = context, self.batch, self.batch
        params.type_k = params.type_v = llama_cpp.GGML_TYPE_F32
        params.n_threads = params.n_threads_batch = physical_cores()
        params.flash_attn_type = FLASH_ATTENTION_OFF
        opened = llama_cpp.llama_init_from_model(self._model, params)
        if not opened:
            raise CheckFailed(f"llama.cpp cannot run {self.path}: {reason(log)}")
        return opened

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with captured():
            if self._context:
                llama_cpp.llama_free(self._context)
            llama_cpp.llama_model_free(self._model)

    def tokens(self, text: str, *, add_special: bool = False) -> list[int]:
        """Token ids; special tokens that are spelled out in `text` become special tokens."""
        raw = text.encode()
        room = len(raw) + 8
        ids = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(
            self._vocabulary, raw, len(raw), ids, room, add_special, True
        )
        if count < 0:
            raise CheckFailed(f"llama.cpp does not tokenize a text of {len(raw)} bytes")
        return list(ids[:count])

    def token_text(self, token: int) -> str:
        return str(llama_cpp.llama_vocab_get_text(self._vocabulary, token).decode())

    def ends(self, token: int) -> bool:
        """Whether generation stops at this token."""
        return bool(llama_cpp.llama_vocab_is_eog(self._vocabulary, token))

    def control(self) -> list[int]:
        """Ids of the tokens that only a template may write."""
        return [
            token
            for token in range(self.vocabulary_size)
            if llama_cpp.llama_vocab_is_control(self._vocabulary, token)
        ]

    def special(self) -> dict[str, int]:
        """Ids of the special tokens that the file names; -1 where it names none."""
        v = self._vocabulary
        return {
            "bos": llama_cpp.llama_vocab_bos(v),
            "eos": llama_cpp.llama_vocab_eos(v),
            "eot": llama_cpp.llama_vocab_eot(v),
        }

    def template(self) -> str | None:
        raw = llama_cpp.llama_model_chat_template(self._model, None)
        return None if raw is None else raw.decode()

    def restart(self) -> None:
        """Forget what was read, so that the next position is the first."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self._context), True)
        self._past = 0

    def read(self, tokens: Sequence[int]) -> np.ndarray:
        """Continue with at most `batch` tokens; their logits `[N, V]`, one row for each."""
        batch = llama_cpp.llama_batch_init(len(tokens), 0, 1)
        try:
            batch.n_tokens = len(tokens)
            for place, token in enumerate(tokens):
                batch.token[place], batch.pos[place] = token, self._past + place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = 1
            with captured() as log:
                if llama_cpp.llama_decode(self._context, batch):
                    raise CheckFailed(f"llama.cpp cannot decode with {self.path}: {reason(log)}")
        finally:
            llama_cpp.llama_batch_free(batch)
        self._past += len(tokens)
        rows = llama_cpp.llama_get_logits(self._context)
        pointer = ctypes.cast(rows, ctypes.POINTER(ctypes.c_float))
        return np.ctypeslib.as_array(pointer, (len(tokens), self.vocabulary_size)).copy()


def chunks(tokens: Sequence[int], size: int) -> list[Sequence[int]]:
    return [tokens[start : start + size] for start in range(0, len(tokens), size)]


def override_array(overrides: Mapping[str, str | bool]) -> Any:
    """Metadata overrides as llama.cpp reads them, ended by an empty key."""
    array: Any = (llama_cpp.llama_model_kv_override * (len(overrides) + 1))()
    for slot, (key, value) in zip(itertools.count(), overrides.items()):
        array[slot].key = key.encode()
        if isinstance(value, bool):
            array[slot].tag, array[slot].value.val_bool = FLAG, value
        else:
            array[slot].tag, array[slot].value.val_str = TEXT, value.encode()
    return array
