"""The dot products that the pocket page computes with, against gguf's own reading of the blocks."""

import hashlib
import json
from itertools import product

import numpy as np
import pytest
import wasmtime
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize

from demo.pocket_kernels import (
    FORMATS,
    KERNELS,
    Q8_1,
    Q8_K,
    VENDOR,
    dot_products,
    grafted,
    package_files,
)
from demo.wasm_module import DATA, Module
from distill.core.errors import CheckFailed

# Bytes of a block, and where its scales lie as halves.
BLOCKS = {
    "q4_0": (18, [0]),
    "q5_0": (22, [0]),
    "q8_0": (34, [0]),
    "iq4_nl": (18, [0]),
    "q4_1": (20, [0, 2]),
    "q5_1": (24, [0, 2]),
    "q3_k": (110, [108]),
    "q4_k": (144, [0, 2]),
    "q5_k": (176, [0, 2]),
    "q6_k": (210, [208]),
    "iq4_xs": (136, [0]),
}
MODULES = ("wllama-single.wasm", "wllama-multi.wasm")
HALVES = np.array([0.0, 6e-8, -3e-5, 6.1e-5, 0.013, -0.4, 1.0, 900.0], np.float16)


@pytest.fixture(scope="module")
def kernels():
    """Call a kernel: (name, weights, activations) as bytes, and the number of them."""
    store = wasmtime.Store()
    module = wasmtime.Module.from_file(store.engine, str(KERNELS / "dot.wasm"))
    exports = wasmtime.Instance(store, module, []).exports(store)
    exports["memory"].grow(store, 16)

    def dot(name, weights, activations, count):
        # Where the next row would begin lies what must not be read.
        memory = exports["memory"]
        memory.write(store, weights + b"\xff" * 64, 64)
        memory.write(store, activations + b"\xff" * 64, 1 << 19)
        exports[name](store, count, 0, 0, 64, 0, 1 << 19, 0, 1)
        return float(np.frombuffer(memory.read(store, 0, 4), np.float32)[0])

    return dot


def blocks(name, scales, draw, fill=None):
    """A block a scale, of random bytes or of one; a minimum is half of the scale before it."""
    size, halves = BLOCKS[name]
    made = draw.integers(0, 256, (len(scales), size), dtype=np.uint8)
    if fill is not None:
        made[:] = fill
    for number, at in enumerate(halves):
        made[:, at : at + 2] = (scales / np.float16(number + 1)).view(np.uint8).reshape(-1, 2)
    return made


def activations(kind, values, draw):
    """Rows of bytes from -127 to 127 as blocks of that kind, and what they stand for."""
    rows, width = values.shape
    bytes_of = values.astype(np.int8).view(np.uint8)
    if kind == Q8_K:
        scale = draw.normal(size=(rows, 1)).astype(np.float32)
        sums = values.reshape(rows, width // 16, 16).sum(-1).astype(np.int16)
        packed = [scale.view(np.uint8), bytes_of, sums.view(np.uint8)]
    else:
        scale = draw.choice(HALVES[1:], (rows, 1))
        packed = [scale.view(np.uint8), bytes_of]
        if kind == Q8_1:
            # The sum of what a block stands for, which a half cannot hold exactly.
            scale = np.full((rows, 1), 0.25, np.float16)
            sums = (values.sum(-1, keepdims=True) * 0.25).astype(np.float16)
            packed = [scale.view(np.uint8), sums.view(np.uint8), bytes_of]
    return np.concatenate(packed, axis=1), scale.astype(np.float64) * values


def checked(kernels, name, made, values, draw):
    kind = FORMATS[name][1]
    weights = dequantize(made, Type[name.upper()]).astype(np.float64)
    packed, meant = activations(kind, values, draw)
    found = kernels(name, made.tobytes(), packed.tobytes(), values.size)
    terms = weights * meant
    slack = 4e-6 * np.abs(terms).sum() + 1e-30
    if kind == Q8_1:  # the minima are multiplied with rounded sums
        minima = np.abs(made[:, 2:4].copy().view(np.float16).astype(np.float64))
        slack += (minima * np.abs(meant.sum(-1, keepdims=True)) * 2**-11).sum()
    if kind == Q8_K:  # a constant or a minimum is as large as what it is taken from
        slack += 4e-6 * np.abs(meant).sum() * np.abs(weights).max() * 4
    assert abs(found - terms.sum()) <= slack, (name, found, terms.sum(), slack)


def width_of(name):
    return 256 if FORMATS[name][1] == Q8_K else 32


@pytest.mark.parametrize("name", FORMATS)
def test_random_blocks_of_every_format(kernels, name):
    draw = np.random.default_rng(FORMATS[name][0])
    alone = [scale.reshape(1) for scale in HALVES]  # the least is not judged by the largest's error
    for scales in (*alone, *(draw.choice(HALVES, rows) for rows in (2, 7, 40))):
        values = draw.integers(-127, 128, (len(scales), width_of(name)))
        checked(kernels, name, blocks(name, scales, draw), values, draw)


@pytest.mark.parametrize("name", FORMATS)
def test_no_sum_of_products_runs_over(kernels, name):
    draw = np.random.default_rng(1)
    scales = np.array([1.0, -0.4, 0.013], np.float16)
    for fill, said in product((0, 0x0F, 0x7F, 0x80, 0xF0, 0xFF), (-127, 127)):
        made = blocks(name, scales, draw, fill)
        checked(kernels, name, made, np.full((len(scales), width_of(name)), said), draw)


@pytest.mark.parametrize("file", MODULES)
def test_the_page_computes_with_these(file):
    data, kernels = (VENDOR / file).read_bytes(), (KERNELS / "dot.wasm").read_bytes()
    module, graft = Module(data), Module(kernels)
    places, exported = dot_products(module), graft.exported()
    for name in FORMATS:
        assert module.bodies[places[name]] == graft.bodies[exported[name]]
    assert grafted(data, kernels) == data


def test_the_record_is_of_these_sources():
    package = json.loads((VENDOR / "VENDOR.json").read_text())["packages"][0]
    for name, digest in package["kernels"].items():
        found = hashlib.sha256((KERNELS / name).read_bytes()).hexdigest()
        assert found == digest, f"{name} changed: make pocket-kernels"


def test_a_module_without_the_table_is_refused():
    kernels = (KERNELS / "dot.wasm").read_bytes()
    with pytest.raises(CheckFailed, match="table of functions"):
        grafted(kernels, kernels)


def test_a_module_whose_table_is_not_certain_is_refused():
    module = Module((VENDOR / MODULES[0]).read_bytes())
    module.part[DATA] = b"\0"  # none
    with pytest.raises(CheckFailed, match="0 tables of formats"):
        dot_products(module)


def test_kernels_that_call_another_function_are_refused():
    kernels = Module((KERNELS / "dot.wasm").read_bytes())
    kernels.bodies.append(kernels.bodies[0])
    with pytest.raises(CheckFailed, match="call functions"):
        grafted((VENDOR / MODULES[0]).read_bytes(), kernels.data())


def test_a_package_of_another_digest_is_refused(tmp_path):
    (tmp_path / "wllama.tgz").write_bytes(b"not what was recorded")
    package = {"from": (tmp_path / "wllama.tgz").as_uri(), "integrity": "sha512-AAAA"}
    with pytest.raises(CheckFailed, match="is not the file of sha512-AAAA"):
        package_files(package)
