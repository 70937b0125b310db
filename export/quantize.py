"""Quantization in this process by llama.cpp, and what it really did.

In: an F16 file and a plan. Out: the quantized file, its effective bits per weight, the tensors
that fell back to another type (rows not divisible by 256 do so silently). Refused: a type that
needs an importance matrix without one, a pattern that matches no tensor (BadInput), a file that
llama.cpp cannot write (Unavailable).
"""

import ctypes
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gguf
import llama_cpp
import numpy as np

from distill.core.errors import BadInput, Unavailable
from distill.core.progress import bar
from export.native_log import captured, reason
from export.types import (
    EMBEDDING,
    HEAD,
    block_named,
    refuse_without_importance,
    type_named,
)

COUNTED = re.compile(r"\[ *(\d+)/ *(\d+)\]")


@dataclass(frozen=True)
class Plan:
    """A type, why, and where it is left: `tensors` are exact names; `inputs` mean squares."""

    type: str
    reason: str = "asked for by name"
    tensors: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, np.ndarray] | None = None
    threads: int = 0


@dataclass(frozen=True)
class Quantization:
    """What a file holds, read back from the file itself."""

    type: str
    nominal_bits_per_weight: float
    bits_per_weight: float
    file_bits_per_weight: float
    parameters: int
    bytes_by_class: dict[str, int]
    weights_by_type: dict[str, int]
    fallback: list[str]
    token_embedding: str

    def record(self) -> dict[str, Any]:
        return asdict(self)


def quantize(source: Path, target: Path, plan: Plan | str) -> None:
    """Write `target` from the F16 `source`; the name of a type alone is llama.cpp's own mix."""
    plan = Plan(plan) if isinstance(plan, str) else plan
    kind = type_named(plan.type)
    if not plan.inputs:
        refuse_without_importance(plan.type)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = kind.number, plan.threads
    patterns = overrides(plan.tensors)
    params.tt_overrides = patterns
    for name, field_name in ((EMBEDDING, "token_embedding_type"), (HEAD, "output_tensor_type")):
        if name in plan.tensors:
            setattr(params, field_name, number_of(plan.tensors[name]))
    if plan.inputs:
        params.imatrix = importance_array(plan.inputs)
    with bar() as progress:
        task = progress.add_task(plan.type, total=None)

        def heard(line: str) -> None:
            if found := COUNTED.search(line):
                progress.update(task, completed=int(found[1]), total=int(found[2]))

        with captured(heard) as log:
            failed = llama_cpp.llama_model_quantize(
                str(source).encode(), str(target).encode(), ctypes.byref(params)
            )
    if failed:
        raise Unavailable(f"{target} could not be quantized to {plan.type}: {reason(log)}")


def number_of(block: str) -> int:
    return int(gguf.GGMLQuantizationType[block])


def overrides(tensors: Mapping[str, str]) -> Any:
    """Types of single tensors as llama.cpp reads them, ended by an empty pattern."""
    array: Any = (llama_cpp.llama_model_tensor_override * (len(tensors) + 1))()
    for slot, (name, block) in zip(array, tensors.items(), strict=False):
        slot.pattern, slot.type = f"^{re.escape(name)}$".encode(), number_of(block)
    return array


def importance_array(inputs: Mapping[str, np.ndarray]) -> Any:
    """An importance matrix as llama.cpp reads it, ended by an empty name."""
    array: Any = (llama_cpp.llama_model_imatrix_data * (len(inputs) + 1))()
    for slot, (name, values) in zip(array, inputs.items(), strict=False):
        assert values.dtype == np.float32 and values.flags.c_contiguous, name
        slot.name, slot.size = name.encode(), values.size
        slot.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    return array


def chosen_tensors(words: Sequence[str], matrices: Sequence[str]) -> dict[str, str]:
    """`PATTERN=TYPE` words as exact names; the first pattern that matches a tensor decides."""
    chosen: dict[str, str] = {}
    for word in words:
        pattern, sign, block = word.rpartition("=")
        try:
            found = [name for name in matrices if sign and re.search(pattern, name)]
        except re.error as error:
            raise BadInput(f"--tensor {word}: {pattern} is no pattern ({error})") from error
        if not found:
            raise BadInput(
                f"--tensor {word} matches no tensor; write PATTERN=TYPE with names such as "
                f"{matrices[0]}"
            )
        chosen = dict.fromkeys(found, block_named(block)) | chosen
    return chosen


def matrices_of(path: Path) -> dict[str, tuple[int, int]]:
    """Shape `[outputs, inputs]` of every matrix of a file that we wrote."""
    return {
        tensor.name: (int(tensor.shape[1]), int(tensor.shape[0]))
        for tensor in gguf.GGUFReader(path).tensors
        if len(tensor.shape) == 2
    }


def read_back(path: Path, name: str, chosen: Mapping[str, str] | None = None) -> Quantization:
    """Count a file that we wrote: the reader trusts the lengths that it finds."""
    wanted, chosen = type_named(name), chosen or {}
    by_class: Counter[str] = Counter()
    by_type: Counter[str] = Counter()
    fallback, embedding = [], ""
    for tensor in gguf.GGUFReader(path).tensors:
        kind = tensor.tensor_type.name
        by_class[class_of(tensor.name)] += int(tensor.n_bytes)
        by_type[kind] += int(tensor.n_elements)
        if tensor.name == EMBEDDING:
            embedding = kind
        meant = {chosen[tensor.name]} if tensor.name in chosen else wanted.members
        if len(tensor.shape) > 1 and kind not in meant:
            fallback.append(f"{tensor.name} {kind}")
    parameters = sum(by_type.values())
    return Quantization(
        type=name,
        nominal_bits_per_weight=wanted.nominal_bits_per_weight,
        bits_per_weight=round(8 * sum(by_class.values()) / parameters, 4),
        file_bits_per_weight=round(8 * path.stat().st_size / parameters, 4),
        parameters=parameters,
        bytes_by_class=dict(by_class),
        weights_by_type=dict(by_type),
        fallback=fallback,
        token_embedding=embedding,
    )


def class_of(tensor: str) -> str:
    """The part of the student that a tensor belongs to, by its GGUF name."""
    if "norm" in tensor:
        return "norm"
    for mark, name in {
        "token_embd": "embedding",
        "attn": "attention",
        "ffn": "feed-forward",
    }.items():
        if mark in tensor:
            return name
    return "head" if tensor.startswith("output.") else "other"
