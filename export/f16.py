"""A checkpoint written as one F16 GGUF file, tensor by tensor.

In: a checkpoint. Out: the file; matrices in F16, vectors in F32, a tied head dropped. Refused:
a tensor that the architecture does not know, or that F16 cannot hold (Unsupported); a missing
one (BadInput).
"""

import errno
import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from distill.core.errors import BadInput, KindredError, Unavailable, Unsupported
from distill.core.jsonl import read_json
from distill.core.progress import track
from export.checkpoint import Checkpoint
from export.vocabulary import vocabulary_of

QUANTIZATION_VERSION = 2
F16_FILE = 1
PENALTY_KEY = gguf.Keys.General.SAMPLING_PENALTY_REPEAT
HEAD = "lm_head.weight"
# Buffers that old checkpoints stored; every reader computes them.
IMPLIED = ("rotary_emb.inv_freq",)


def write_f16(checkpoint: Checkpoint, path: Path) -> None:
    """Write the whole file."""
    metadata = {
        "general.type": "model",
        "general.name": checkpoint.folder.resolve().name,
        "general.file_type": F16_FILE,
        "general.quantization_version": QUANTIZATION_VERSION,
        **checkpoint.architecture.metadata(checkpoint.config),
        **vocabulary_of(checkpoint),
        **sampling_of(checkpoint.folder),
    }
    names = target_names(checkpoint)
    computed = checkpoint.architecture.computed(checkpoint.config)
    shapes = {new: shape for old, shape in checkpoint.shapes() if (new := names.get(old))}
    shapes |= {name: tuple(tensor.shape) for name, tensor in computed.items()}
    write_file(path, checkpoint.architecture.NAME, metadata, shapes, arrays(checkpoint, names))


def sampling_of(folder: Path) -> dict[str, float]:
    """What generation_config.json recommends, by the keys that llama.cpp reads."""
    path = folder / "generation_config.json"
    penalty = read_json(path).get("repetition_penalty") if path.exists() else None
    return {PENALTY_KEY: float(penalty)} if penalty and penalty != 1 else {}


def arrays(checkpoint: Checkpoint, names: Mapping[str, str]) -> Iterator[np.ndarray]:
    """The file's tensors, in the order of `shapes`."""
    tensors = track(checkpoint.tensors(), "f16", len(checkpoint.shards))
    for old, tensor in tensors:
        if old in names:
            arranged = checkpoint.architecture.arrange(old, tensor, checkpoint.config)
            yield as_array(old, arranged)
    for name, tensor in checkpoint.architecture.computed(checkpoint.config).items():
        yield as_array(name, tensor)


def target_names(checkpoint: Checkpoint) -> dict[str, str]:
    """GGUF names of the tensors that go into the file: those that torch would load."""
    config, folder = checkpoint.config, checkpoint.folder
    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}
    arch = kind[checkpoint.architecture.NAME]
    table = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    parameters = parameters_of(config)
    names: dict[str, str] = {}
    for name in checkpoint.shards:
        if name.endswith(IMPLIED) or (name == HEAD and config.tie_word_embeddings):
            continue
        target = table.get_name(name, try_suffixes=(".weight", ".bias"))
        if target is None or name not in parameters:
            raise Unsupported(
                f"{folder} holds the tensor {name}, which the architecture "
                f"'{config.model_type}' of its config.json does not have"
            )
        names[name] = target
    missing = sorted(parameters - names.keys())
    if missing:
        raise BadInput(
            f"{folder} lacks {len(missing)} of its tensors (the first is {missing[0]}); "
            "the checkpoint is not whole, save it again"
        )
    return names


def parameters_of(config: Any) -> set[str]:
    """Names that torch would load for this config; no weight is made."""
    import torch
    from transformers import AutoModelForCausalLM

    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        return {name for name, _ in build(config).named_parameters()}


def as_array(name: str, tensor: Any) -> np.ndarray:
    """F32 for vectors, F16 for matrices."""
    import torch

    wanted = torch.float32 if tensor.ndim == 1 else torch.float16
    array: np.ndarray = tensor.to(wanted).contiguous().numpy()
    if not np.isfinite(array).all():
        raise Unsupported(f"{name} holds values that {wanted} cannot (not finite, or beyond 65504)")
    return array


def write_file(
    path: Path,
    architecture: str,
    metadata: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    tensors: Iterable[np.ndarray] = (),
) -> None:
    """Header, metadata, then each tensor as it comes."""
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in metadata.items():
        add(writer, key, value)
    for name, shape in (shapes or {}).items():
        kind = np.dtype(np.float32 if len(shape) == 1 else np.float16)
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


def refuse_full_disk(checkpoint: Checkpoint, folder: Path) -> None:
    """F16 and the quantized file lie side by side for a while; both must fit."""
    weights = sum(math.prod(shape) for _, shape in checkpoint.shapes())
    needed, free = 3 * weights, shutil.disk_usage(folder).free
    if needed > free:
        raise Unavailable(
            f"{folder} has {free / 1e6:.0f} MB free and the export needs about "
            f"{needed / 1e6:.0f} MB; free some space or choose another --out"
        )


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
    else:
        writer.add_array(key, value)
