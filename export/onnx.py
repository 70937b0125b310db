"""Write a student as an ONNX folder and prove that it is still the student.

In: a checkpoint folder of a known architecture. Out: `edge/FOLDER-onnx-int4/` beside it (graph,
weights, tokenizer, chat template, genai_config.json) with a manifest over every file, a card and
the dialogues on which importance was measured. Refused: a checkpoint or text that cannot be used,
too little disk, a folder that holds anything else (exit 2), a quantization that changed nothing
and a folder that fails the gate (exit 1); neither leaves anything under the final name.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.naming import HOME, named
from export.options import Imatrix, Text

if TYPE_CHECKING:
    from distill.core.manifest import ArtifactManifest
    from export.checkpoint import Checkpoint
    from export.making import Bench, Order
    from export.onnx_counts import Quantized
    from export.parity import Texts

NAMES = {16: "f16", 8: "int8", 4: "int4"}
FILES = (
    "model.onnx",
    "model.onnx.data",
    "genai_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "tokenizer.model",
    "chat_template.jinja",
)
# The builder's float32 graph is read whole and removed before the narrow one is written.
GRAPH_BYTES = MERGED_BYTES = 4


@command
def run(
    student: Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.")],
    bits: Annotated[int, typer.Option(help="16, 8 or 4.")] = 4,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; one in `edge/` beside the checkpoint.")
    ] = None,
    text: Text = None,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Compare the folder with the checkpoint.")
    ] = True,
    imatrix: Imatrix = None,
) -> Outcome:
    """Write an ONNX folder and prove that it is still the student.

    The gate compares template, token ids and logits (KL divergence, best token) of the folder,
    run by onnxruntime, with the checkpoint run by torch. A folder that fails is not kept.
    """
    if bits not in NAMES:
        raise BadInput(f"--bits {bits} is not known; choose 16, 8 or 4")
    from distill.core.jsonl import existing
    from distill.core.manifest import manifest_path
    from export.card import gate_table
    from export.checkpoint import open_checkpoint
    from export.making import Order
    from export.parity import texts_for

    if imatrix not in (None, "none"):
        existing(Path(imatrix))
    order = Order(NAMES[bits], f"{bits} bits", texts_for(text), gate, imatrix=imatrix)
    checkpoint = open_checkpoint(student)
    student = named(student)
    target = out or student.parent / HOME / f"{student.name}-onnx-{NAMES[bits]}"
    found, parity = write(checkpoint, target, bits, order)
    table = [gate_table(parity)] if parity["links"] else []
    own = {"path": str(target), "gate": parity, "manifest": str(manifest_path(target))}
    return Outcome({**found.record(), **own}, [*table, *lines(target, found, parity)])


def write(
    checkpoint: "Checkpoint", target: Path, bits: int, order: "Order"
) -> "tuple[Quantized, dict[str, Any]]":
    """Write in a workshop beside the target, judge, and only then give it its name."""
    from distill.core.folder import refuse_foreign
    from distill.core.progress import say
    from export.handover import write_handover
    from export.making import bench, refuse_failed, write_manifest_beside
    from export.onnx_build import build, refuse_unknown
    from export.onnx_counts import read_back
    from export.onnx_mixture import mixture_of
    from export.onnx_weights import Mixture
    from export.parity import SKIPPED
    from export.workshop import put_in_place

    refuse_unknown(checkpoint)
    refuse_foreign(target, FILES)
    refuse_file_in_the_way(target)
    room = (GRAPH_BYTES + (MERGED_BYTES if checkpoint.adapter else 0)) * parameters_of(checkpoint)
    with bench(checkpoint, target, order, room) as at:
        folder = at.folder / "folder.part"
        folder.mkdir()
        weighed = bits == 4 and order.imatrix != "none"
        mixture = mixture_of(checkpoint, at.importance()) if weighed else Mixture()
        say(f"building {target.name}")
        build(checkpoint, folder, bits, mixture)
        found = read_back(folder, bits, parameters_of(checkpoint))
        parity = judged(checkpoint, folder, bits, order.texts) if order.gate else SKIPPED
        refuse_failed(target, parity)
        manifest = manifest_for(at, target, folder, found, parity)
        put_in_place(
            folder, target, lambda: write_manifest_beside(target, manifest, at.calibration)
        )
        write_handover(checkpoint, target)
    return found, parity


def judged(checkpoint: "Checkpoint", folder: Path, bits: int, texts: "Texts") -> dict[str, Any]:
    """The gate, with the folder read by the backend that will serve it."""
    from export.onnx_session import OnnxSession
    from export.parity import gate

    return gate(checkpoint, {f"ONNX {NAMES[bits]}": (folder, bits)}, texts, reader=OnnxSession)


def compared(folder: Path, student: Path, text: Path | None, record: dict[str, Any]) -> Any:
    """The gate on a finished folder, for `distill export verify`; operators are counted again."""
    from export.checkpoint import open_checkpoint
    from export.onnx_counts import read_back
    from export.parity import texts_for, with_changes

    checkpoint, bits = open_checkpoint(student), record["requested_bits"]
    found = read_back(folder, bits, parameters_of(checkpoint)).record()
    parity = judged(checkpoint, folder, bits, texts_for(text))
    return with_changes(parity, found, record)


def parameters_of(checkpoint: "Checkpoint") -> int:
    """Weights of the checkpoint; a tied head is the embedding, stored once or twice."""
    tied = checkpoint.config.tie_word_embeddings
    shapes = checkpoint.shapes()
    return sum(math.prod(s) for name, s in shapes if not (tied and name == "lm_head.weight"))


def refuse_file_in_the_way(target: Path) -> None:
    parent = next(p for p in target.absolute().parents if p.exists())
    if not parent.is_dir():
        raise BadInput(f"{target} cannot be written: {parent} is a file; choose another --out")


def manifest_for(
    at: "Bench", target: Path, folder: Path, found: "Quantized", parity: dict[str, Any]
) -> "ArtifactManifest":
    """The manifest of a folder that will be renamed to `target`."""
    from distill.core.manifest import describe
    from export.card import importance_record, manifest_of

    files = [describe(file) for file in sorted(folder.iterdir())]
    placed = [file.model_copy(update={"path": f"{target.name}/{file.path}"}) for file in files]
    record = {**found.record(), "importance": importance_record(at.calibration)}
    return manifest_of(at.checkpoint, at.student_sha256, placed, record, parity)


def lines(target: Path, found: "Quantized", parity: dict[str, Any]) -> list[str]:
    """Path, size, bits, layers; what was compared."""
    same = ", ".join(parity["identical"])
    kept = "float16, widened to float32 when it is opened"
    if found.quantized_layers:
        kept = (
            f"{found.quantized_layers} of {found.linear_layers} linear layers quantized ("
            + ", ".join(f"{count} in int{bits}" for bits, count in found.layers_by_bits.items())
            + f"), blocks of {found.block_size}, activations "
            f"{'int8' if found.accuracy_level == 4 else 'float32'}; embedding {found.embedding}"
        )
    return [
        f"{target}: {found.size_bytes / 1e6:.1f} MB, {found.parameters / 1e6:.1f} M weights",
        f"{found.bits_per_weight:.2f} bits per weight ({found.requested_bits} asked): {kept}",
        "of its weights' bytes: " + found.shares(),
        f"identical: {same}" if same else "the gate was skipped: nothing is known of this folder",
        f"run it: distill runtime chat {target}",
    ]
