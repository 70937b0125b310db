"""What is in an ONNX folder: operators, linear layers that were quantized, bits per weight.

In: the folder, and the number of weights of its checkpoint. Out: a record. Refused: a folder whose
quantization changed nothing or left linear layers wide (CheckFailed). No weight is read.
"""

import math
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnx

from distill.core.errors import CheckFailed
from export.onnx_weights import LINEAR, LOOK_UP, TABLES
from runtime.backends.onnx_graph import MODEL

ITEM_BITS = {
    onnx.TensorProto.FLOAT: 32,
    onnx.TensorProto.FLOAT16: 16,
    onnx.TensorProto.UINT8: 8,
    onnx.TensorProto.INT8: 8,
    onnx.TensorProto.INT64: 64,
}
# A tied head is the embedding too.
CLASSES = {
    "norm": "norm",
    "lm_head": "head",
    "embed": "embedding",
    "attn": "attention",
    "mlp": "feed-forward",
}


@dataclass(frozen=True)
class Quantized:
    """Counts of one graph; `bits_per_weight` is what its weights take, scales included."""

    type: str
    requested_bits: int
    bits_per_weight: float
    parameters: int
    size_bytes: int
    linear_layers: int
    quantized_layers: int
    layers_by_bits: dict[str, int]
    block_size: int | None
    accuracy_level: int | None
    embedding: str
    bytes_by_class: dict[str, int]
    operators: dict[str, int]

    def shares(self) -> str:
        """How the bytes of the weights are spread over the parts of the student."""
        whole = sum(self.bytes_by_class.values())
        return ", ".join(f"{part} {size / whole:.0%}" for part, size in self.bytes_by_class.items())

    def record(self) -> dict[str, Any]:
        return {"format": "onnx", **asdict(self)}


def read_back(folder: Path, bits: int, parameters: int) -> Quantized:
    """Count the graph's operators and weigh its tensors."""
    model = onnx.load(folder / MODEL, load_external_data=False)
    nodes = list(model.graph.node)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    narrow = [node for node in nodes if node.op_type == LINEAR]
    wide = [node for node in nodes if node.op_type == "MatMul" and is_weight(node, nodes, tensors)]
    attributes = [{a.name: a.i for a in node.attribute} for node in narrow]
    layers = Counter(a["bits"] for a in attributes)
    refuse_no_operation(folder, bits, len(wide), layers)
    by_class: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if not name.startswith(TABLES):
            by_class[class_of(name)] += bits_of(tensor) // 8
    return Quantized(
        type=f"ONNX-{'F16' if bits == 16 else f'INT{bits}'}",
        requested_bits=bits,
        bits_per_weight=round(8 * by_class.total() / parameters, 4),
        parameters=parameters,
        size_bytes=sum(file.stat().st_size for file in folder.glob(f"{MODEL}*")),
        linear_layers=len(wide) + len(narrow),
        quantized_layers=len(narrow),
        layers_by_bits={str(bits): count for bits, count in sorted(layers.items())},
        block_size=attributes[0]["block_size"] if narrow else None,
        accuracy_level=attributes[0].get("accuracy_level", 0) if narrow else None,
        embedding=embedding_of(nodes, tensors),
        bytes_by_class=dict(by_class.most_common()),
        operators=dict(sorted(Counter(node.op_type for node in nodes).items())),
    )


def class_of(tensor: str) -> str:
    """The part of the student that a tensor belongs to, by the builder's names."""
    return next((part for mark, part in CLASSES.items() if mark in tensor), "other")


def bits_of(tensor: Any) -> int:
    return int(math.prod(tensor.dims)) * ITEM_BITS.get(tensor.data_type, 32)


def is_weight(node: Any, nodes: list[Any], tensors: dict[str, Any]) -> bool:
    """Whether a MatMul multiplies by a stored matrix, narrowed or not."""
    casts = {out: n.input[0] for n in nodes if n.op_type == "Cast" for out in n.output}
    name = node.input[1]
    return casts.get(name, name) in tensors


def refuse_no_operation(folder: Path, bits: int, wide: int, layers: Counter[int]) -> None:
    """A quantizer that skips layers says nothing of it."""
    if bits < 16 and (wide or not layers[bits]):
        raise CheckFailed(
            f"{folder} was to have {bits} bits: {layers[bits]} of {wide + layers.total()} linear "
            f"layers have them, and {wide} were left as they were; use --bits 16"
        )


def embedding_of(nodes: list[Any], tensors: dict[str, Any]) -> str:
    """How the embedding is stored."""
    for node in nodes:
        if node.op_type == LOOK_UP:
            return f"int{next(a.i for a in node.attribute if a.name == 'bits')}"
    halves = [n for n, t in tensors.items() if t.data_type == onnx.TensorProto.FLOAT16]
    return "float16" if halves else "float32"
