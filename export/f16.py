"""A checkpoint written as one F16 GGUF file, tensor by tensor.

In: a checkpoint. Out: the file; matrices in F16, vectors in F32, a tied head dropped. Refused:
a tensor that the architecture does not know, or that F16 cannot hold (Unsupported); a missing
or misshapen one, and values that are not finite (BadInput).
"""

import errno
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from distill.core.errors import BadInput, KindredError, Unavailable, Unsupported
from distill.core.progress import track
from export.checkpoint import CONFIG_ERRORS, Checkpoint, first_line
from export.vocabulary import vocabulary_of

QUANTIZATION_VERSION = 2
F16_FILE = 1
PENALTY_KEY = gguf.Keys.General.SAMPLING_PENALTY_REPEAT
HEAD = "lm_head.weight"
# Buffers that old checkpoints stored; every reader computes them.
IMPLIED = ("rotary_emb.inv_freq",)
CHUNK_WEIGHTS = 1 << 21
F16_INFINITY, F16_SIGN = 0x7C00, 0x8000


def write_f16(checkpoint: Checkpoint, path: Path) -> None:
    """Write the whole file."""
    names = target_names(checkpoint)
    metadata = {
        "general.type": "model",
        "general.file_type": F16_FILE,
        "general.quantization_version": QUANTIZATION_VERSION,
        **checkpoint.architecture.metadata(checkpoint.config),
        **vocabulary_of(checkpoint),
        **sampling_of(checkpoint),
    }
    computed = checkpoint.architecture.computed(checkpoint.config)
    shapes = {new: shape for old, shape in checkpoint.shapes() if (new := names.get(old))}
    shapes |= {name: tuple(tensor.shape) for name, tensor in computed.items()}
    write_file(path, checkpoint.architecture.NAME, metadata, shapes, arrays(checkpoint, names))


def sampling_of(checkpoint: Checkpoint) -> dict[str, float]:
    """What generation_config.json recommends, by the keys that llama.cpp reads."""
    penalty = checkpoint.setting("repetition_penalty")
    return {PENALTY_KEY: float(penalty)} if penalty and penalty != 1 else {}


def arrays(checkpoint: Checkpoint, names: Mapping[str, str]) -> Iterator["Converted"]:
    """The file's tensors, in the order of `shapes`."""
    tensors = track(checkpoint.tensors(), "f16", len(checkpoint.stored))
    for old, tensor in tensors:
        if old in names:
            yield Converted(old, checkpoint.architecture.arrange(old, tensor, checkpoint.config))
    for name, tensor in checkpoint.architecture.computed(checkpoint.config).items():
        yield Converted(name, tensor)


def target_names(checkpoint: Checkpoint) -> dict[str, str]:
    """GGUF names of the tensors that go into the file: those that torch would load."""
    config, folder = checkpoint.config, checkpoint.base or checkpoint.folder
    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    arch = kind[checkpoint.architecture.NAME]
    table = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    expected = parameters_of(config, folder)
    names: dict[str, str] = {}
    for name, shape in checkpoint.shapes():
        if name.endswith(IMPLIED) or (name == HEAD and config.tie_word_embeddings):
            continue
        target = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None or name not in expected:
            raise Unsupported(
                f"{folder} holds the tensor {name}, which the architecture "
                f"'{config.model_type}' of its config.json does not have"
            )
        if shape != expected[name]:
            raise BadInput(
                f"{folder} holds {name} as {list(shape)}, and its config.json asks for "
                f"{list(expected[name])}; the two are not of one checkpoint, save it again"
            )
        names[name] = target
    missing = sorted(expected.keys() - names.keys())
    if missing:
        raise BadInput(
            f"{folder} lacks {len(missing)} of its tensors (the first is {missing[0]}); "
            "the checkpoint is not whole, save it again"
        )
    return names


def parameters_of(config: Any, folder: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes that torch would load for this config; no weight is made."""
    import torch
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    try:
        with torch.device("meta"):
            return {name: tuple(p.shape) for name, p in build(config).named_parameters()}
    except CONFIG_ERRORS as error:
        raise BadInput(
            f"transformers cannot build {folder / 'config.json'}: {first_line(error)}"
        ) from error


@dataclass(frozen=True)
class Converted:
    """A tensor as the writer takes arrays, converted while it is written.

    F32 for vectors, F16 for matrices; never more than a chunk of the result is in memory.
    """

    name: str
    tensor: Any

    @property
    def nbytes(self) -> int:
        return int(self.tensor.numel()) * width_of(self.tensor.shape).itemsize

    def tofile(self, stream: Any) -> None:
        for chunk in self.chunks():
            chunk.tofile(stream)

    def chunks(self) -> Iterator[np.ndarray]:
        """Rows, as many as make a chunk."""
        import torch

        wanted = torch.float32 if self.tensor.ndim == 1 else torch.float16
        rows = max(1, CHUNK_WEIGHTS // max(1, math.prod(self.tensor.shape[1:])))
        for part in self.tensor.split(rows):
            array: np.ndarray = part.to(wanted).contiguous().numpy()
            if not all_finite(array):
                self.refuse(part)
            yield array

    def refuse(self, part: Any) -> None:
        if not part.isfinite().all():
            raise BadInput(
                f"{self.name} holds values that are not finite (NaN or infinity); the training "
                "diverged or the file is damaged: export an earlier checkpoint"
            )
        raise Unsupported(
            f"{self.name} holds {part.abs().max():.0f}, which F16 cannot (beyond 65504)"
        )


def all_finite(array: np.ndarray) -> bool:
    """Exponents of F16 are looked at as integers: isfinite is several times slower there."""
    if array.dtype != np.float16:
        return bool(np.isfinite(array).all())
    bits = array.view(np.uint16) & (F16_SIGN - 1)
    return not bits.size or int(bits.max()) < F16_INFINITY


def width_of(shape: tuple[int, ...]) -> np.dtype[Any]:
    return np.dtype(np.float32 if len(shape) == 1 else np.float16)


def write_file(
    path: Path,
    architecture: str,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tensors: Iterable[Any] = (),
) -> None:
    """Header, metadata, then each tensor as it comes, anything with `nbytes` and `tofile`."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        add(writer, key, value)
    for name, shape in (shapes or {}).items():
        kind = width_of(shape)
        writer.add_tensor_info(name, shape, kind, math.prod(shape) * kind.itemsize)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for tensor in tensors:
            writer.write_tensor_data(tensor)
        writer.close()
    except KindredError:
        raise
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EROFS):
            raise
        raise Unavailable(
            f"{path.parent} does not take the file ({error}); free some space and export again"
        ) from error
    finally:
        with suppress(OSError):
            writer.close()


def add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    """Numbers are 32 bits wide, as llama.cpp reads its own keys."""
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    elif len(value):
        # The writer would look at the type of each of 100,000 tokens.
        kind = gguf.GGUFValueType.get_type(value[0])
        writer.add_key_value(key, value, gguf.GGUFValueType.ARRAY, kind)
