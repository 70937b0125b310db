"""GGUF files through llama.cpp's C interface.

In: a path that was checked before. Out: a `Backend`. Refused: a file that llama.cpp cannot open
(BadInput, with its own reason). The low-level interface is used because `llama_cpp.Llama` copies
logits into Python for every token and parses control tokens in everything that it tokenizes.
"""

import ctypes
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import llama_cpp.llama_cpp as native

from distill.core.errors import BadInput
from runtime.backends import Sampling

CHUNK = 256  # tokens evaluated at once: how long a prompt goes on after its reader left
ERROR_LEVEL = 4
PENALTY_KEY = b"general.sampling.penalty_repeat"
PENALTY_TOKENS = 64
GREEDY_BELOW = 1e-6  # logits divided by less would overflow
CONTROL = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_UNKNOWN
_complaints: list[str] = []


def _listen(level: int, text: bytes, _: Any) -> None:
    if level == ERROR_LEVEL:
        _complaints.append(text.decode("utf-8", "replace").strip())
        del _complaints[:-8]


_listener = native.llama_log_callback(_listen)


class LlamaCpp:
    """One GGUF file, one sequence in its cache."""

    chunk = CHUNK

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        native.llama_log_set(_listener, ctypes.c_void_p(0))
        native.llama_backend_init()
        self._model = _open_model(path)
        self._context: Any = None
        try:
            self._prepare(path, context, threads)
        except BaseException:
            self.close()
            raise

    def _prepare(self, path: Path, context: int, threads: int) -> None:
        self._vocab = native.llama_model_get_vocab(self._model)
        trained = native.llama_model_n_ctx_train(self._model)
        self.context = min(context, trained) if trained > 0 else context
        self._context = self._new_context(path, threads)
        self._memory = native.llama_get_memory(self._context)
        self._one = (native.llama_token * 1)()
        self._one_batch = native.llama_batch_get_one(self._one, 1)
        self._buffer = ctypes.create_string_buffer(256)
        self.template = self._template(path)
        self.control: Mapping[str, int] = self._control_tokens()
        begin, end = native.llama_vocab_bos(self._vocab), native.llama_vocab_eos(self._vocab)
        self.begin = begin if begin >= 0 and native.llama_vocab_get_add_bos(self._vocab) else None
        self.begin_text, self.end_text = self._text(begin), self._text(end)
        self.repetition_penalty = self._recommended(PENALTY_KEY, 1.0)

    def _new_context(self, path: Path, threads: int) -> Any:
        settings = native.llama_context_default_params()
        settings.n_ctx = self.context
        settings.n_batch = settings.n_ubatch = CHUNK
        settings.n_threads = settings.n_threads_batch = threads
        opened = native.llama_init_from_model(self._model, settings)
        if not opened:
            raise BadInput(f"{path} cannot be run with {self.context} tokens: {_reason()}")
        return opened

    def _template(self, path: Path) -> str | None:
        text = native.llama_model_chat_template(self._model, None)
        try:
            return text.decode("utf-8") if text else None
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{path} has a chat template that is not UTF-8; export it again"
            ) from error

    def _recommended(self, key: bytes, otherwise: float) -> float:
        """A number of the file's metadata; what is absent, or none, is `otherwise`."""
        size = native.llama_model_meta_val_str(self._model, key, self._buffer, len(self._buffer))
        try:
            found = float(self._buffer.value) if size > 0 else otherwise
        except ValueError:
            return otherwise
        return found if math.isfinite(found) and found > 0 else otherwise

    def _control_tokens(self) -> dict[str, int]:
        tokens = range(native.llama_vocab_n_tokens(self._vocab))
        marked = (t for t in tokens if native.llama_vocab_get_attr(self._vocab, t) & CONTROL)
        return {text: token for token in marked if (text := self._text(token))}

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

    def keep(self, count: int) -> int:
        if count and native.llama_memory_seq_rm(self._memory, 0, count, -1):
            return count
        native.llama_memory_clear(self._memory, False)
        return 0

    def evaluate(self, tokens: Sequence[int]) -> None:
        if len(tokens) == 1:
            self._one[0] = tokens[0]
            batch = self._one_batch
        else:
            many = (native.llama_token * len(tokens))(*tokens)  # the batch only points to it
            batch = native.llama_batch_get_one(many, len(tokens))
        code = native.llama_decode(self._context, batch)
        if code:
            raise RuntimeError(f"llama.cpp could not evaluate {len(tokens)} tokens (code {code})")

    def sampler(self, sampling: Sampling) -> "NativeSampler":
        vocabulary = native.llama_vocab_n_tokens(self._vocab)
        return NativeSampler(self._context, vocabulary, sampling)

    def close(self) -> None:
        if self._context:
            native.llama_free(self._context)
        if self._model:
            native.llama_model_free(self._model)
        self._context = self._model = None


class NativeSampler:
    """A chain of llama.cpp's samplers in llama.cpp's own order."""

    def __init__(self, context: Any, vocabulary: int, sampling: Sampling) -> None:
        self._context = context
        self._chain = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        for link in _links(vocabulary, sampling):
            native.llama_sampler_chain_add(self._chain, link)

    def next(self) -> int:
        return int(native.llama_sampler_sample(self._chain, self._context, -1))

    def close(self) -> None:
        if self._chain is not None:
            native.llama_sampler_free(self._chain)
            self._chain = None


def _links(vocabulary: int, sampling: Sampling) -> list[Any]:
    links = []
    if sampling.repetition_penalty != 1:
        penalty = sampling.repetition_penalty
        links.append(
            native.llama_sampler_init_penalties(vocabulary, PENALTY_TOKENS, penalty, 0.0, 0.0)
        )
    if sampling.temperature < GREEDY_BELOW:
        return [*links, native.llama_sampler_init_greedy()]
    if sampling.top_k > 0:
        links.append(native.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        links.append(native.llama_sampler_init_top_p(sampling.top_p, 1))
    if sampling.min_p > 0:
        links.append(native.llama_sampler_init_min_p(sampling.min_p, 1))
    links.append(native.llama_sampler_init_temp(sampling.temperature))
    links.append(native.llama_sampler_init_dist(sampling.seed & 0xFFFFFFFF))
    return links


def _open_model(path: Path) -> Any:
    _complaints.clear()
    settings = native.llama_model_default_params()
    opened = native.llama_model_load_from_file(str(path).encode(), settings)
    if not opened:
        raise BadInput(f"{path} cannot be opened: {_reason()}; export it again")
    return opened


def _reason() -> str:
    return _complaints[0] if _complaints else "llama.cpp gave no reason"
