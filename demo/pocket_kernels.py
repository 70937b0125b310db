"""Puts the dot products of dot.c into wllama's modules: `make pocket-kernels`, after a change of
dot.c or of wllama's version.

llama.cpp keeps a table of its number formats in memory, with the place of each one's dot product
among the module's functions. Those functions get the bodies of dot.c; nothing else changes. Takes
the npm package that VENDOR.json names, and a clang that knows WebAssembly (`ziglang` on PyPI);
writes dot.wasm, the modules and their digests. Refuses a package of another digest, and a module
in which it cannot find the table beyond doubt.
"""

import base64
import hashlib
import io
import json
import struct
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from urllib.request import urlopen

from demo.wasm_module import DATA, Module
from distill.core.errors import CheckFailed

KERNELS = Path(__file__).parent / "pocket/kernels"
VENDOR = Path(__file__).parent / "pocket/vendor"
COMPILE = (
    *("cc", "--target=wasm32-freestanding", "-O3", "-msimd128", "-nostdlib", "-fno-sanitize=all"),
    *("-Wall", "-Wextra", "-Wno-unused-parameter", "-Wl,--no-entry", "-Wl,--strip-all"),
    "-Wl,-z,stack-size=0",
)
# Numbers of ggml_type, and of the type of the activations, in ggml.h.
Q8_0, Q8_1, Q8_K = 8, 9, 15
FORMATS = {
    "q4_0": (2, Q8_0),
    "q4_1": (3, Q8_1),
    "q5_0": (6, Q8_0),
    "q5_1": (7, Q8_1),
    "q8_0": (8, Q8_0),
    "q3_k": (11, Q8_K),
    "q4_k": (12, Q8_K),
    "q5_k": (13, Q8_K),
    "q6_k": (14, Q8_K),
    "iq4_nl": (20, Q8_0),
    "iq4_xs": (23, Q8_K),
}
ROW = struct.Struct("<iiixxxxq")  # ggml_type_traits_cpu: from_float, vec_dot, vec_dot_type, nrows


def dot_products(module: Module) -> dict[str, int]:
    """The number of each format's dot product among the module's own functions."""
    memory, called, imported = module.memory(), module.called_by_place(), module.imported()
    last = max(number for number, _ in FORMATS.values())
    found = []
    for start in range(0, len(memory) - ROW.size * (last + 1), 4):
        places = {}
        for name, (number, activations) in FORMATS.items():
            _, place, kind, rows = ROW.unpack_from(memory, start + ROW.size * number)
            if (kind, rows) != (activations, 1) or place not in called:
                break
            places[name] = called[place] - imported
        else:
            found.append(places)
    found = [places for places in found if len(set(places.values())) == len(FORMATS)]
    if len(found) != 1:
        raise CheckFailed(f"the module has {len(found)} tables of formats that could be meant")
    return found[0]


def grafted(module: bytes, kernels: bytes) -> bytes:
    """The module with the kernels' bodies for its dot products."""
    host, graft = Module(module), Module(kernels)
    exported = graft.exported()
    if DATA in graft.part or len(graft.bodies) != len(FORMATS):
        raise CheckFailed(
            "the kernels keep data or call functions, which the module would not have"
        )
    for name, number in dot_products(host).items():
        host.bodies[number] = graft.bodies[exported[name]]
    return host.data()


def compiled(source: Path) -> bytes:
    with tempfile.TemporaryDirectory() as near:
        made = Path(near) / "dot.wasm"
        subprocess.run([sys.executable, "-m", "ziglang", *COMPILE, "-o", made, source], check=True)
        return made.read_bytes()


def package_files(package: dict[str, str]) -> dict[str, bytes]:
    """The files of an npm package, checked against its digest."""
    with urlopen(package["from"]) as answer:
        packed = answer.read()
    kind, digest = package["integrity"].split("-", 1)
    if base64.b64encode(hashlib.new(kind, packed).digest()).decode() != digest:
        raise CheckFailed(f"{package['from']} is not the file of {package['integrity']}")
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        return {
            member.name.removeprefix("package/"): files.extractfile(member).read()  # type: ignore[union-attr]
            for member in files
            if member.isfile()
        }


def main() -> None:
    record = json.loads((VENDOR / "VENDOR.json").read_text("utf-8"))
    package = next(each for each in record["packages"] if each["name"] == "@wllama/wllama")
    kernels, original = compiled(KERNELS / "dot.c"), package_files(package)
    (KERNELS / "dot.wasm").write_bytes(kernels)
    package["kernels"] = {
        name: hashlib.sha256((KERNELS / name).read_bytes()).hexdigest()
        for name in ("dot.c", "dot.wasm")
    }
    for name, entry in package["files"].items():
        if name.endswith(".wasm"):
            made = grafted(original[entry["is"]], kernels)
            (VENDOR / name).write_bytes(made)
            entry["sha256"] = hashlib.sha256(made).hexdigest()
            print(f"{name}: {', '.join(FORMATS)}")
    text = json.dumps(record, indent=1, ensure_ascii=False)
    (VENDOR / "VENDOR.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
