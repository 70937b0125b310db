"""Write a student as a GGUF file and prove that it is still the student.

In: a checkpoint folder of a known architecture. Out: `edge/FOLDER-TYPE.gguf` beside it, with a
manifest. Refused: a checkpoint, tokenizer, type or text that cannot be used, too little disk
(exit 2), and a file that fails the gate (exit 1); neither leaves anything under the final name.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput, CheckFailed

if TYPE_CHECKING:
    from export.checkpoint import Checkpoint
    from export.parity import Texts
    from export.quantize import Quantization

DEFAULT_BITS = 4


@command
def run(
    student: Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.")],
    bits: Annotated[int | None, typer.Option(help="16, 8 or 4 (the default).")] = None,
    type_: Annotated[
        str | None,
        typer.Option("--type", help="A llama.cpp type instead: F16, Q8_0, Q4_K_M, Q4_0, ..."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File (.gguf) or folder to write; `edge/` beside the checkpoint."),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Held-out dialogues for the gate (JSON lines); ours without it."),
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Compare the file with the checkpoint.")
    ] = True,
) -> Outcome:
    """Write a GGUF file and prove that it is still the student.

    The gate compares template, token ids and logits (KL divergence, best token) of the file with
    the checkpoint run by torch. A file that fails is not kept.
    """
    from export.card import file_lines, gate_table
    from export.checkpoint import open_checkpoint
    from export.parity import texts_for
    from export.quantize import TYPES

    kind = type_for(bits, type_)
    texts = texts_for(text)
    target = target_for(student, out, kind)
    checkpoint = open_checkpoint(student)
    found, parity = write(
        checkpoint,
        target,
        kind,
        texts if gate else None,
        within_budget=type_ is None and TYPES[kind].bits == 4,
    )
    data = {
        "path": str(target),
        "size_bytes": target.stat().st_size,
        **found.record(),
        "gate": parity,
        "manifest": str(manifest_of(target)),
    }
    table = [gate_table(parity)] if parity["links"] else []
    return Outcome(data, [*table, *file_lines(target, found, parity)])


def type_for(bits: int | None, name: str | None) -> str:
    from export.quantize import TYPE_OF_BITS, type_named

    if bits is not None and name is not None:
        raise BadInput(f"--bits {bits} and --type {name} say the same thing twice; give one")
    if name is not None:
        type_named(name)
        return name
    wanted = DEFAULT_BITS if bits is None else bits
    if wanted not in TYPE_OF_BITS:
        raise BadInput(f"--bits {wanted} is not known; choose 16, 8 or 4, or name a --type")
    return TYPE_OF_BITS[wanted]


def target_for(student: Path, out: Path | None, kind: str) -> Path:
    """A `.gguf` path is the file itself; any other path is a folder."""
    student = student if student.name else student.resolve()
    target = (out or student.parent / "edge") / f"{student.name}-{kind}.gguf"
    if out is not None and out.suffix == ".gguf":
        target = out
    in_the_way = [p for p in target.parents if p.exists() and not p.is_dir()]
    if target.is_dir() or in_the_way:
        raise BadInput(
            f"{target} cannot be written: {(in_the_way or [target])[0]} is a "
            f"{'file' if in_the_way else 'folder'}; choose another --out"
        )
    return target


def manifest_of(target: Path) -> Path:
    from distill.core.manifest import manifest_path

    return manifest_path(target)


@contextmanager
def scratch(target: Path) -> Iterator[Path]:
    """A name beside the target for the F16 file on the way; nothing stays there."""
    path = target.with_name(f".{target.name}.{os.getpid()}.F16.part")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def write(
    checkpoint: "Checkpoint", target: Path, kind: str, texts: "Texts | None", *, within_budget: bool
) -> "tuple[Quantization, dict[str, Any]]":
    """Write beside the target under another name, judge, and only then rename."""
    from distill.core.jsonl import replacing
    from distill.core.manifest import write_manifest
    from distill.core.progress import remarks
    from export.card import gate_table, manifest_for
    from export.f16 import refuse_full_disk, write_f16
    from export.parity import SKIPPED, gate
    from export.quantize import TYPES, quantize, quantize_within, read_back

    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_full_disk(checkpoint, target.parent)
    with replacing(target) as temporary, scratch(target) as between:
        plain = temporary if kind == "F16" else between
        write_f16(checkpoint, plain)
        files = {"F16": (plain, 16)}
        if kind != "F16":
            (quantize_within if within_budget else quantize)(plain, temporary, kind)
            files[kind] = (temporary, TYPES[kind].bits)
        found = read_back(temporary, kind)
        parity = gate(checkpoint, files, texts) if texts else SKIPPED
        if parity["failed"]:
            if parity["links"]:
                remarks().print(gate_table(parity))
            raise CheckFailed(
                f"{target} was not written, the gate failed: {'; '.join(parity['failed'])}"
            )
        write_manifest(target, manifest_for(checkpoint, target, temporary, found, parity))
    return found, parity
