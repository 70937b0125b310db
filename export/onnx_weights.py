"""The weights of an ONNX graph made as narrow as was asked, where the builder leaves them wide.

In: a folder that the builder wrote, and bits. Out: the same folder, rewritten. At 16 bits every
matrix is stored in float16 and widened when the graph is opened, so that arithmetic stays in
float32. At 8 and 4 bits the embedding, which the builder leaves in float32, shares the head's
blocks when it is tied and they have 8 bits; otherwise it is stored in float16 and each row is
widened as it is read. Refused: a matrix that float16 cannot hold (Unsupported).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from distill.core.errors import Unsupported
from runtime.backends.onnx_graph import IDS, MODEL

DATA = "model.onnx.data"
EMBEDDING, HEAD = "/model/embed_tokens/Gather", "/lm_head/MatMul"
# Rotary tables are not weights, and positions in float16 are wrong beyond 2048.
TABLES = ("cos_cache", "sin_cache")
EXTERNAL_BYTES = 1024  # small constants stay inside the graph


def narrow(folder: Path, bits: int) -> None:
    """Rewrite the graph and its weights."""
    model = onnx.load(folder / MODEL)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    if bits == 16:
        for tensor in matrices(model):
            halve(model, tensor)
    else:
        narrow_embedding(model, weights)
    for name in (MODEL, DATA):
        (folder / name).unlink()
    onnx.save(
        model,
        folder / MODEL,
        save_as_external_data=True,
        location=DATA,
        size_threshold=EXTERNAL_BYTES,
    )


def matrices(model: Any) -> Iterator[Any]:
    """Float32 weights with two dimensions."""
    for tensor in list(model.graph.initializer):
        wide = tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2
        if wide and tensor.name not in TABLES and not tensor.name.endswith("_scales"):
            yield tensor


def halve(model: Any, tensor: Any) -> None:
    """Store a matrix in float16 under another name and cast it to its own."""
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(half(tensor), f"{name}_f16"))
    cast = helper.make_node(
        "Cast", [tensor.name], [name], name=f"{name}/Cast", to=onnx.TensorProto.FLOAT
    )
    model.graph.node.insert(0, cast)


def half(tensor: Any) -> np.ndarray:
    with np.errstate(over="ignore"):
        narrowed: np.ndarray = numpy_helper.to_array(tensor).astype(np.float16)
    if not np.isfinite(narrowed).all():
        raise Unsupported(
            f"{tensor.name} holds values that float16 cannot (beyond 65504, or none at all); "
            "check the checkpoint, or train it again"
        )
    return narrowed


def narrow_embedding(model: Any, weights: dict[str, Any]) -> None:
    """Replace the look-up in a float32 table, where there is one."""
    nodes = {node.name: node for node in model.graph.node}
    look_up, head = nodes.get(EMBEDDING), nodes.get(f"{HEAD}_Q8")
    table = weights.get(look_up.input[0]) if look_up else None
    if table is None:
        return
    if head and same_matrix(weights[head.input[1]], weights[head.input[2]], table):
        new = shared(model, head, look_up)
        model.graph.initializer.remove(table)
    else:
        new = halved_rows(table, look_up)
    place = list(model.graph.node).index(look_up)
    model.graph.node.remove(look_up)
    for node in reversed(new):
        model.graph.node.insert(place, node)


def same_matrix(blocks: Any, scales: Any, table: Any) -> bool:
    """Whether 8-bit blocks `[V, B, W]` are those of a table `[V, D]`."""
    rows = numpy_helper.to_array(table)
    integers = numpy_helper.to_array(blocks).astype(np.float32) - 128
    if integers.shape[0] != len(rows) or integers[0].size != rows.shape[1]:
        return False
    widths = numpy_helper.to_array(scales).reshape(*integers.shape[:2], 1)
    apart = np.abs(integers * widths - rows.reshape(integers.shape))
    return bool((apart <= np.abs(widths)).all())


def shared(model: Any, head: Any, look_up: Any) -> list[Any]:
    """The embedding read from the head's own blocks."""
    attributes = {a.name: helper.get_attribute_value(a) for a in head.attribute}
    shape = np.array([attributes["N"], attributes["K"]], np.int64)
    model.graph.initializer.append(numpy_helper.from_array(shape, "embedding_shape"))
    flat = helper.make_node("Reshape", [head.input[1], "embedding_shape"], ["embedding_blocks"])
    gather = helper.make_node(
        "GatherBlockQuantized",
        ["embedding_blocks", IDS, head.input[2]],
        list(look_up.output),
        name="/model/embed_tokens/GatherBlockQuantized",
        domain="com.microsoft",
        bits=8,
        block_size=attributes["block_size"],
        gather_axis=0,
        quantize_axis=1,
    )
    return [flat, gather]


def halved_rows(table: Any, look_up: Any) -> list[Any]:
    """The embedding read from a float16 table, its rows widened afterwards."""
    table.CopyFrom(numpy_helper.from_array(half(table), f"{table.name}_f16"))
    gather = helper.make_node(
        "Gather", [table.name, IDS], ["embedding_rows_f16"], name=look_up.name
    )
    cast = helper.make_node(
        "Cast", ["embedding_rows_f16"], list(look_up.output), to=onnx.TensorProto.FLOAT
    )
    return [gather, cast]
