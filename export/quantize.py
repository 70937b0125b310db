"""Quantization in this process by llama.cpp, and what it really did.

In: an F16 file and a type. Out: the quantized file, its effective bits per weight, the tensors
that fell back to another type (rows not divisible by 256 do so silently). Refused: an unknown
type (BadInput), a file that llama.cpp cannot write (Unavailable).
"""

import ctypes
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gguf
import llama_cpp

from distill.core.errors import BadInput, Unavailable
from export.native_log import captured, reason

EMBEDDING = "token_embd"


@dataclass(frozen=True)
class Type:
    """A llama.cpp mix: its number, the bits of its main block, the types it may use on purpose."""

    number: int
    bits: int
    nominal_bits_per_weight: float
    members: frozenset[str]


def mix(number: int, bits: int, nominal: float, members: str) -> Type:
    return Type(number, bits, nominal, frozenset(members.split()))


TYPES = {
    "F16": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_F16, 16, 16.0, "F16"),
    "Q8_0": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, 8, 8.5, "Q8_0"),
    "Q6_K": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q6_K, 6, 6.5625, "Q6_K"),
    "Q5_K_M": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_M, 5, 5.5, "Q5_K Q6_K"),
    "Q5_K_S": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q5_K_S, 5, 5.5, "Q5_K Q6_K"),
    "Q4_K_M": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M, 4, 4.5, "Q4_K Q5_K Q6_K"),
    "Q4_K_S": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_S, 4, 4.5, "Q4_K Q5_K Q6_K"),
    "Q4_0": mix(llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0, 4, 4.5, "Q4_0 Q4_1 Q6_K"),
}
TYPE_OF_BITS = {16: "F16", 8: "Q8_0", 4: "Q4_K_M"}
MOST_BITS_PER_WEIGHT = 5.2
# What `--bits 4` gives up, in this order, until the whole file is small enough. Q4_K_M raises half
# of the down projections and a tied embedding to Q6_K. An early starter base has a KLD of 0.0046
# with both, at equal bits 0.0048 without the first and 0.0052 with the embedding in Q5_K.
Economy = tuple[str, str]
ECONOMIES: tuple[Economy | None, ...] = (
    None,
    ("ffn_down", "Q4_K"),
    (EMBEDDING, "Q5_K"),
    (EMBEDDING, "Q4_K"),
)


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


def type_named(name: str) -> Type:
    if name not in TYPES:
        raise BadInput(f"type '{name}' is not known; choose one of: {', '.join(TYPES)}")
    return TYPES[name]


def quantize(source: Path, target: Path, name: str, economy: Economy | None = None) -> None:
    """Write `target` from the F16 `source`; an economy sets the type of the tensors it names."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = type_named(name).number
    if economy:
        part, kind = economy
        number = int(gguf.GGMLQuantizationType[kind])
        overrides = (llama_cpp.llama_model_tensor_override * 2)()
        overrides[0].pattern, overrides[0].type = part.encode(), number
        params.tt_overrides = overrides
        if part == EMBEDDING:
            params.token_embedding_type = number
    with captured() as log:
        failed = llama_cpp.llama_model_quantize(
            str(source).encode(), str(target).encode(), ctypes.byref(params)
        )
    if failed:
        raise Unavailable(f"{target} could not be quantized to {name}: {reason(log)}")


def quantize_within(source: Path, target: Path, name: str) -> None:
    """Quantize with the least economy that keeps the whole file within the 4-bit budget.

    Where metadata alone keeps it above, the last economy stays; a file whose weights do not come
    within the budget is written as llama.cpp would by itself.
    """
    for economy in ECONOMIES:
        quantize(source, target, name, economy)
        found = read_back(target, name)
        if found.file_bits_per_weight <= MOST_BITS_PER_WEIGHT or found.fallback:
            return
    if found.bits_per_weight > MOST_BITS_PER_WEIGHT:
        quantize(source, target, name)


def read_back(path: Path, name: str) -> Quantization:
    """Count a file that we wrote: the reader trusts the lengths that it finds."""
    wanted = type_named(name)
    by_class: Counter[str] = Counter()
    by_type: Counter[str] = Counter()
    fallback, embedding = [], ""
    for tensor in gguf.GGUFReader(path).tensors:
        kind = tensor.tensor_type.name
        by_class[class_of(tensor.name)] += int(tensor.n_bytes)
        by_type[kind] += int(tensor.n_elements)
        if tensor.name == "token_embd.weight":
            embedding = kind
        if len(tensor.shape) > 1 and kind not in wanted.members:
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
