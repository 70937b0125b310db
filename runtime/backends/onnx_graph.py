"""A decoder graph in onnxruntime with the keys and values of several sequences.

In: a folder that the ONNX export wrote. Out: numpy logits of the tokens that were read. Refused:
a folder that is not whole (MissingInput), a graph of another form (Unsupported), one that
onnxruntime does not open (BadInput).

Keys and values lie in one buffer per layer, `[S, H, C, D]`, bound as both past and present, so
that a step writes its own positions and copies nothing: how much of a sequence counts is said by
the attention mask alone, and forgetting its end costs nothing.

Shapes: S sequences, N tokens of one call, C context, H key heads, D head width, V vocabulary.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from distill.core.errors import BadInput, MissingInput, Unsupported
from distill.core.jsonl import read_json

MODEL, CONFIG = "model.onnx", "genai_config.json"
PAST, PRESENT = "past_key_values.", "present."
IDS, MASK, LOGITS = "input_ids", "attention_mask", "logits"
SILENT = 4  # onnxruntime's level: what it raises, it would print as well
AGAIN = "export it again with: distill export onnx STUDENT --bits 4"


class Graph:
    """One open graph; sequences are numbered from 0 and know nothing of each other."""

    def __init__(self, folder: Path, *, context: int, threads: int, sequences: int = 1) -> None:
        self.config = config_of(folder)
        self.context = min(context, int(self.config["model"]["context_length"]))
        self._session = opened(folder, threads)
        past = {i.name: i for i in self._session.get_inputs() if i.name.startswith(PAST)}
        outputs = {o.name: o for o in self._session.get_outputs()}
        self._require_known_form(folder, past, outputs)
        self.vocabulary = int(outputs[LOGITS].shape[-1])
        head_width = int(self.config["model"]["decoder"]["head_size"])
        self._memory = {
            name: np.zeros((sequences, int(i.shape[1]), self.context, head_width), np.float32)
            for name, i in past.items()
        }
        self._ones = np.ones((1, self.context), np.int64)
        self._singles: dict[tuple[int, int], tuple[Any, np.ndarray, np.ndarray]] = {}

    def _require_known_form(
        self, folder: Path, past: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> None:
        names = {i.name for i in self._session.get_inputs()} - set(past)
        shared = self.config.get("search", {}).get("past_present_share_buffer")
        wide = all(i.type == "tensor(float)" for i in [*past.values(), *outputs.values()])
        if names != {IDS, MASK} or LOGITS not in outputs or not (past and shared and wide):
            raise Unsupported(
                f"{folder / MODEL} is no decoder with a shared float32 cache of keys and values; "
                + AGAIN
            )

    def read(self, tokens: Sequence[int], *, past: int, sequence: int = 0) -> np.ndarray:
        """Logits `[N, V]` of tokens that follow the first `past` ones."""
        ids = np.array([tokens], np.int64)
        logits = np.empty((1, len(tokens), self.vocabulary), np.float32)
        binding = self._bound(sequence, 1)
        bind(binding, ids, logits)
        self._run(binding, self._mask([past + len(tokens)]))
        logits_NV: np.ndarray = logits[0]
        return logits_NV

    def step(self, tokens: Mapping[int, int], held: Sequence[int]) -> dict[int, np.ndarray]:
        """One token for each of some sequences, in as few passes as may be; their logits `[V]`.

        They are valid until the next step. `held` is the length of every sequence. One that lies
        between two others and gets no token is computed with token 0 after its end, which its next
        token will overwrite; only one that is full divides the pass.
        """
        found: dict[int, np.ndarray] = {}
        for group in self._groups(tokens, held):
            binding, ids, logits = self._single(group.start, len(group))
            ids[:, 0] = [tokens.get(s, 0) for s in group]
            self._run(binding, self._mask([held[s] + 1 for s in group]))
            found |= {s: logits[s - group.start, 0] for s in group if s in tokens}
        return found

    def _groups(self, tokens: Mapping[int, int], held: Sequence[int]) -> list[range]:
        """Neighbouring sequences that go through the graph together."""
        groups: list[range] = []
        for s in sorted(tokens):
            between = range(groups[-1].stop, s) if groups else range(0)
            if groups and all(held[b] < self.context for b in between):
                groups[-1] = range(groups[-1].start, s + 1)
            else:
                groups.append(range(s, s + 1))
        return groups

    def copy(self, source: int, target: int, count: int) -> None:
        """Let a sequence begin with the first `count` tokens of another."""
        for array in self._memory.values():
            array[target, :, :count] = array[source, :, :count]

    def _mask(self, lengths: list[int]) -> np.ndarray:
        """Ones for what counts of each sequence, `[S', longest]`."""
        longest = max(lengths)
        assert longest <= self.context, "what is written beyond the buffer is lost"
        if len(lengths) == 1:
            return self._ones[:, :longest]
        counted = np.arange(longest) < np.array(lengths)[:, None]
        return counted.astype(np.int64)

    def _run(self, binding: Any, mask: np.ndarray) -> None:
        binding.bind_input(MASK, "cpu", 0, np.int64, mask.shape, mask.ctypes.data)
        self._session.run_with_iobinding(binding)

    def _single(self, first: int, count: int) -> tuple[Any, np.ndarray, np.ndarray]:
        """What neighbouring sequences need for one token each, bound once: decoding repeats it."""
        if (first, count) not in self._singles:
            ids = np.empty((count, 1), np.int64)
            logits = np.empty((count, 1, self.vocabulary), np.float32)
            binding = self._bound(first, count)
            bind(binding, ids, logits)
            self._singles[first, count] = binding, ids, logits
        return self._singles[first, count]

    def _bound(self, first: int, count: int) -> Any:
        """A binding of the keys and values of neighbouring sequences."""
        binding = self._session.io_binding()
        for name, array in self._memory.items():
            rows = array[first : first + count]
            place = ("cpu", 0, np.float32, rows.shape, rows.ctypes.data)
            binding.bind_input(name, *place)
            binding.bind_output(PRESENT + name.removeprefix(PAST), *place)
        return binding

    def close(self) -> None:
        self._singles.clear()
        self._memory.clear()
        self._session = None


def bind(binding: Any, ids: np.ndarray, logits: np.ndarray) -> None:
    """Let a pass read these tokens and write these logits."""
    binding.bind_input(IDS, "cpu", 0, np.int64, ids.shape, ids.ctypes.data)
    binding.bind_output(LOGITS, "cpu", 0, np.float32, logits.shape, logits.ctypes.data)


def config_of(folder: Path) -> dict[str, Any]:
    """genai_config.json, once it names what is needed to run the graph."""
    if not (folder / CONFIG).exists():
        raise MissingInput(f"{folder} has no {CONFIG}; {AGAIN}")
    config: dict[str, Any] = read_json(folder / CONFIG)
    try:
        model = config["model"]
        sizes = (model["context_length"], model["decoder"]["head_size"], model["vocab_size"])
        known = all(isinstance(size, int) and size > 0 for size in sizes)
    except (KeyError, TypeError):
        known = False
    if not known:
        raise BadInput(f"{folder / CONFIG} does not say the sizes of a decoder; {AGAIN}")
    return config


def opened(folder: Path, threads: int) -> Any:
    """The graph as onnxruntime runs it on the processor."""
    if not (folder / MODEL).exists():
        raise MissingInput(f"{folder} has no {MODEL}; {AGAIN}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = SILENT
    try:
        return onnxruntime.InferenceSession(
            folder / MODEL, options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no other class
        reason = str(error).strip().splitlines()[0]
        raise BadInput(f"{folder / MODEL} cannot be opened: {reason}; {AGAIN}") from error
