"""The weights of a float32 ONNX graph made as narrow as was asked.

In: a folder that the builder wrote, bits, a mixture. Out: the same folder, rewritten. At 16 bits
every matrix is stored in float16 and widened when the graph is opened, so that arithmetic stays in
float32. At 8 and 4 bits every linear layer becomes MatMulNBits in blocks of 32; a tied embedding
shares the head's blocks, another one has int8 blocks of its own. Scales are stored in float16 and
widened when the graph is opened. Refused: a matrix that float16 cannot hold (Unsupported).
"""

import re
import stat
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from distill.core.errors import Unsupported
from export.onnx_blocks import BLOCK, Blocks, blocks_of
from runtime.backends.onnx_graph import IDS, MODEL

DATA = "model.onnx.data"
EMBEDDING, HEAD = "/model/embed_tokens/Gather", "/lm_head/MatMul"
LINEAR, LOOK_UP = "MatMulNBits", "GatherBlockQuantized"
# Rotary tables are not weights, and positions in float16 are wrong beyond 2048.
TABLES = ("cos_cache", "sin_cache")
EXTERNAL_BYTES = 1024  # small constants stay inside the graph
INT8_ACTIVATIONS = 4  # onnxruntime's accuracy level
LAYER = re.compile(r"layers\.(\d+)\W.*?((?:gate_)?[a-z]+)_proj")
# The builder makes one matrix of the three where it can.
FUSED = dict.fromkeys(("q", "k", "v"), "qkv")
HEAD_UNIT = "head"


@dataclass(frozen=True)
class Mixture:
    """Units that keep 8 bits among 4, and the mean squared inputs of each unit where known."""

    wide: Collection[str] = (HEAD_UNIT,)
    inputs: Mapping[str, np.ndarray] = field(default_factory=dict)


def unit_of(name: str) -> str | None:
    """The part of the student that a tensor or node belongs to; q, k and v are one."""
    if found := LAYER.search(name):
        return f"layer {found[1]} {FUSED.get(found[2], found[2])}"
    return HEAD_UNIT if "lm_head" in name or "embed_tokens" in name else None


def narrow(folder: Path, bits: int, *, tied: bool, mixture: Mixture) -> None:
    """Rewrite the graph and its weights."""
    model = onnx.load(folder / MODEL)
    graph = model.graph
    if bits == 16:
        for tensor in list(matrices(graph)):
            add_half(graph, half(tensor), tensor.name)
            graph.initializer.remove(tensor)
    else:
        weights = {tensor.name: tensor for tensor in graph.initializer}
        for node in list(graph.node):
            if node.op_type == "MatMul":
                narrow_linear(graph, node, weights, bits, mixture)
        narrow_embedding(graph, weights, tied)
        remove_unused(graph)
    for name in (MODEL, DATA):
        (folder / name).unlink()
    onnx.save(
        model,
        folder / MODEL,
        save_as_external_data=True,
        location=DATA,
        size_threshold=EXTERNAL_BYTES,
    )
    # onnx creates the weights for their owner alone: a container's user could not read them.
    (folder / DATA).chmod(stat.S_IMODE((folder / MODEL).stat().st_mode))


def matrices(graph: Any) -> Iterator[Any]:
    """Float32 weights with two dimensions."""
    for tensor in graph.initializer:
        wide = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
        if wide and not tensor.name.startswith(TABLES):
            yield tensor


def half(tensor: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrowed: np.ndarray = numpy_helper.to_array(tensor).astype(np.float16)
    if not np.isfinite(narrowed).all():
        raise Unsupported(
            f"{tensor.name} holds values that float16 cannot (beyond 65504, or none at all); "
            "check the checkpoint, or train it again"
        )
    return narrowed


def add_half(graph: Any, array: np.ndarray, name: str) -> str:
    """Store an array in float16, to be widened under this name."""
    add(graph, array, f"{name}_f16")
    cast = helper.make_node(
        "Cast", [f"{name}_f16"], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT
    )
    graph.node.insert(0, cast)
    return name


def add(graph: Any, array: np.ndarray, name: str) -> str:
    graph.initializer.append(numpy_helper.from_array(array, name))
    return name


def narrow_linear(
    graph: Any, node: Any, weights: Mapping[str, Any], bits: int, mixture: Mixture
) -> None:
    """Let a linear layer read blocks, with 8 bits where the mixture says so."""
    import torch

    name = node.input[1]
    array_IO = numpy_helper.to_array(weights[name])
    unit = unit_of(node.name)
    bits = 8 if unit in mixture.wide else bits
    matrix_OI = torch.from_numpy(np.ascontiguousarray(array_IO.T))
    found = blocks_of(matrix_OI, bits, mixture.inputs.get(unit or ""))
    inputs, outputs = array_IO.shape
    changed = helper.make_node(
        LINEAR,
        [node.input[0], *stored(graph, found, name)],
        list(node.output),
        name=f"{node.name}_Q{bits}",
        domain="com.microsoft",
        K=inputs,
        N=outputs,
        bits=bits,
        block_size=BLOCK,
        accuracy_level=INT8_ACTIVATIONS,
    )
    node.CopyFrom(changed)


def stored(graph: Any, found: Blocks, name: str) -> list[str]:
    """Names of the stored blocks, scales and zero points."""
    names = [add(graph, found.values, f"{name}_Q{found.bits}")]
    names.append(add_half(graph, found.scales, f"{name}_scales"))
    return names if found.zeros is None else [*names, add(graph, found.zeros, f"{name}_zeros")]


def narrow_embedding(graph: Any, weights: Mapping[str, Any], tied: bool) -> None:
    """Replace the look-up in a float32 table by one in blocks; the head is narrow already."""
    import torch

    nodes = {node.name: node for node in graph.node}
    look_up = nodes[EMBEDDING]
    # In the builder's graph of a tied student a node turns the head into the table.
    turned = next((node for node in graph.node if look_up.input[0] in node.output), None)
    if tied:
        head = next(node for name, node in nodes.items() if name.startswith(HEAD))
        blocks, bits = shared(graph, head), 8 if head.name.endswith("8") else 4
    else:
        table_VD = torch.from_numpy(numpy_helper.to_array(weights[look_up.input[0]]).copy())
        found = blocks_of(table_VD, 8)
        flat = Blocks(8, found.values.reshape(len(found.values), -1), found.scales, None)
        blocks, bits = stored(graph, flat, look_up.input[0]), 8
    gather = helper.make_node(
        LOOK_UP,
        [blocks[0], IDS, *blocks[1:]],
        list(look_up.output),
        name=f"/model/embed_tokens/{LOOK_UP}",
        domain="com.microsoft",
        bits=bits,
        block_size=BLOCK,
        gather_axis=0,
        quantize_axis=1,
    )
    look_up.CopyFrom(gather)
    if turned:
        graph.node.remove(turned)


def shared(graph: Any, head: Any) -> list[str]:
    """The head's own blocks, in the two dimensions that a look-up wants."""
    flat = "embedding_blocks"
    rows = next(a.i for a in head.attribute if a.name == "N")
    shape = add(graph, np.array([rows, -1], np.int64), "embedding_shape")
    graph.node.insert(0, helper.make_node("Reshape", [head.input[1], shape], [flat]))
    return [flat, *head.input[2:]]


def remove_unused(graph: Any) -> None:
    """What was narrowed is stored twice until now."""
    read = {name for node in graph.node for name in node.input}
    for tensor in list(graph.initializer):
        if tensor.name not in read:
            graph.initializer.remove(tensor)
