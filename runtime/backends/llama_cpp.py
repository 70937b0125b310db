"""GGUF files through llama.cpp's C interface: one context whose cells all sequences share.

In: a path that was checked before. Out: a `Backend`. Refused: a file that llama.cpp cannot open
(BadInput, with its own reason). The low-level interface is used because `llama_cpp.Llama` copies
logits into Python for every token and parses control tokens in everything that it tokenizes.
"""

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as native
import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from runtime.backends import CacheFull, Sampling, Work
from runtime.backends.llama_cpp_sampling import NativeSampler
from runtime.sampling import REPETITION_PENALTIES

CHUNK = 256  # tokens evaluated at once: how long a prompt goes on after its reader left
ERROR_LEVEL = 4
NO_ROOM = 1  # what llama_decode returns when no cells are left
PENALTY_KEY = b"general.sampling.penalty_repeat"
CONTROL = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_UNKNOWN
SWALLOWS = native.LLAMA_TOKEN_ATTR_RSTRIP
_complaints: list[str] = []


def _listen(level: int, text: bytes, _: Any) -> None:
    if level == ERROR_LEVEL:
        _complaints.append(text.decode("utf-8", "replace").strip())
        del _complaints[:-8]


_listener = native.llama_log_callback(_listen)


class LlamaCpp:
    """One GGUF file; `cells` tokens of cache for `sequences` sequences."""

    chunk = CHUNK

    def __init__(
        self, path: Path, *, context: int, threads: int, sequences: int = 1, cells: int = 0
    ) -> None:
        native.llama_log_set(_listener, ctypes.c_void_p(0))
        native.llama_backend_init()
        self._model = _open_model(path)
        self._context: Any = None
        self.sequences = sequences
        try:
            self._prepare(path, context, threads, cells)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path, context: int, threads: int, cells: int) -> None:
        self._vocab = native.llama_model_get_vocab(self._model)
        self.vocabulary = native.llama_vocab_n_tokens(self._vocab)
        trained = native.llama_model_n_ctx_train(self._model)
        self.context = min(context, trained) if trained > 0 else context
        self.cells = max(cells, self.context)
        self._context = self._new_context(path, threads)
        self._memory = native.llama_get_memory(self._context)
        # A recurrent state is that of the last token: no earlier one can be had from it.
        self._shares = not (
            native.llama_model_is_recurrent(self._model)
            or native.llama_model_is_hybrid(self._model)
        )
        self._batch = Batch()
        self._buffer = ctypes.create_string_buffer(256)
        self.template = self._template(path)
        self.control: Mapping[str, int] = self._control_tokens()
        self.swallowing = frozenset(t for t in self.control.values() if self._marked(t, SWALLOWS))
        begin, self._end = (
            native.llama_vocab_bos(self._vocab),
            native.llama_vocab_eos(self._vocab),
        )
        self.begin = begin if begin >= 0 and native.llama_vocab_get_add_bos(self._vocab) else None
        self.begin_text, self.end_text = self._text(begin), self._text(self._end)
        self.repetition_penalty = self._recommended(PENALTY_KEY, REPETITION_PENALTIES, 1.0)

    def _new_context(self, path: Path, threads: int) -> Any:
        settings = native.llama_context_default_params()
        settings.n_ctx = self.cells
        settings.n_batch = settings.n_ubatch = CHUNK
        settings.n_seq_max = settings.n_outputs_max = self.sequences
        settings.kv_unified = True
        settings.n_threads = settings.n_threads_batch = threads
        opened = native.llama_init_from_model(self._model, settings)
        if not opened:
            raise BadInput(f"{path} cannot be run with {self.cells} tokens: {_reason()}")
        return opened

    def _template(self, path: Path) -> str | None:
        text = native.llama_model_chat_template(self._model, None)
        try:
            return text.decode("utf-8") if text else None
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{path} has a chat template that is not UTF-8; export it again"
            ) from error

    def _recommended(self, key: bytes, within: tuple[float, float], otherwise: float) -> float:
        """A number of the file's metadata; what is absent, or not within, is `otherwise`."""
        size = native.llama_model_meta_val_str(self._model, key, self._buffer, len(self._buffer))
        try:
            found = float(self._buffer.value) if size > 0 else otherwise
        except ValueError:
            return otherwise
        return found if within[0] <= found <= within[1] else otherwise

    def _control_tokens(self) -> dict[str, int]:
        tokens = range(native.llama_vocab_n_tokens(self._vocab))
        marked = (t for t in tokens if self._marked(t, CONTROL))
        return {text: token for token in marked if (text := self._text(token))}

    def _marked(self, token: int, attributes: int) -> bool:
        return bool(native.llama_vocab_get_attr(self._vocab, token) & attributes)

    def _text(self, token: int) -> str:
        if token < 0:
            return ""
        return str(native.llama_vocab_get_text(self._vocab, token).decode("utf-8", "replace"))

    def encode(self, text: str) -> list[int]:
        data = text.encode("utf-8")
        room = len(data) + 2
        tokens = (native.llama_token * room)()
        count = native.llama_tokenize(self._vocab, data, len(data), tokens, room, False, False)
        assert count >= 0, "a token covers at least one byte"
        return tokens[:count]

    def bytes_of(self, token: int) -> bytes:
        size = len(self._buffer)
        count = native.llama_token_to_piece(self._vocab, token, self._buffer, size, 0, False)
        if count < 0:
            self._buffer = ctypes.create_string_buffer(-count)
            return self.bytes_of(token)
        return self._buffer.raw[:count]

    def is_end(self, token: int) -> bool:
        return bool(native.llama_vocab_is_eog(self._vocab, token))

    def keep(self, sequence: int, count: int) -> int:
        if count and native.llama_memory_seq_rm(self._memory, sequence, count, -1):
            return count
        native.llama_memory_seq_rm(self._memory, sequence, -1, -1)
        return 0

    def copy(self, source: int, target: int, count: int) -> int:
        if not self._shares:
            return 0
        native.llama_memory_seq_cp(self._memory, source, target, 0, count)
        return count

    def decode(self, work: Sequence[Work]) -> None:
        code = native.llama_decode(self._context, self._batch.filled(work))
        if code == NO_ROOM:
            raise CacheFull
        if code:
            tokens = sum(len(item.tokens) for item in work)
            raise RuntimeError(f"llama.cpp could not evaluate {tokens} tokens (code {code})")

    def logits(self, row: int) -> NDArray[np.float32]:
        pointer = native.llama_get_logits_ith(self._context, self._batch.places[row])
        return np.ctypeslib.as_array(pointer, (self.vocabulary,))

    def sampler(self, sampling: Sampling) -> NativeSampler:
        return NativeSampler(self._context, self._batch.places, self._end, sampling)

    def close(self) -> None:
        if self._context:
            native.llama_free(self._context)
        if self._model:
            native.llama_model_free(self._model)
        self._context = self._model = None


class Batch:
    """The arrays of a `llama_batch`, filled anew for every pass.

    `places` tells where in the batch the last token of each item stands.
    """

    def __init__(self) -> None:
        self.places: list[int] = []
        self._token = (native.llama_token * CHUNK)()
        self._position = (native.llama_pos * CHUNK)()
        self._sequence = (native.llama_seq_id * CHUNK)()
        self._wanted = (ctypes.c_int8 * CHUNK)()
        ones = (ctypes.c_int32 * CHUNK)(*[1] * CHUNK)
        size = ctypes.sizeof(native.llama_seq_id)
        pointer = ctypes.POINTER(native.llama_seq_id)
        first = ctypes.addressof(self._sequence)
        each = (ctypes.cast(first + place * size, pointer) for place in range(CHUNK))
        pointers = (pointer * CHUNK)(*each)
        self._filled = native.llama_batch(
            0, self._token, None, self._position, ones, pointers, self._wanted
        )

    def filled(self, work: Sequence[Work]) -> native.llama_batch:
        self.places.clear()
        place = 0
        for item in work:
            count = len(item.tokens)
            end = place + count
            if count == 1:  # most passes: without the lists below, a third of the time
                self._token[place], self._position[place] = item.tokens[0], item.position
                self._sequence[place] = item.sequence
            else:
                self._token[place:end] = list(item.tokens)
                self._position[place:end] = list(range(item.position, item.position + count))
                self._sequence[place:end] = [item.sequence] * count
                self._wanted[place:end] = [0] * count
            self._wanted[end - 1] = item.wants_logits
            self.places.append(end - 1)
            place = end
        self._filled.n_tokens = place
        return self._filled


def _open_model(path: Path) -> Any:
    _complaints.clear()
    settings = native.llama_model_default_params()
    opened = native.llama_model_load_from_file(str(path).encode(), settings)
    if not opened:
        raise BadInput(f"{path} cannot be opened: {_reason()}; export it again")
    return opened


def _reason() -> str:
    return _complaints[0] if _complaints else "llama.cpp gave no reason"
