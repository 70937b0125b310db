"""Check an exported file against its manifest and the student that it came from.

In: a file with its manifest. Out: the same figures as at export, now of the file against torch.
Refused: a file without a manifest or a student (exit 2); a digest, tensor types, template, token
ids or logits that differ (exit 1).
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.errors import CheckFailed, MissingInput


@command
def run(
    file: Annotated[Path, typer.Argument(help="A .gguf file or ONNX folder that Kindred wrote.")],
    student: Annotated[
        Path | None, typer.Argument(help="Its checkpoint folder, when it is not where it was.")
    ] = None,
    text: Annotated[
        Path | None, typer.Option(help="Held-out dialogues (JSON lines); ours without it.")
    ] = None,
    digests_only: Annotated[
        bool, typer.Option("--digests-only", help="Compare digests and stop there.")
    ] = False,
) -> Outcome:
    """Check an exported file against its manifest and its student."""
    from distill.core.manifest import check_files
    from distill.core.naming import exported_artifact

    manifest = check_files(exported_artifact(file))
    digest = manifest.files[0].sha256
    if digests_only:
        return Outcome(
            {"path": str(file), "sha256": digest, "gate": None},
            [f"{file} is what its manifest names ({digest[:8]}...)"],
        )
    folder = student or Path(manifest.student)
    if not folder.exists():
        raise MissingInput(
            f"{folder}, the student of {file}, does not exist; name its folder after the file, "
            "or compare digests alone with --digests-only"
        )
    if file.is_dir():
        from export.onnx import compared as compared_onnx

        parity = compared_onnx(file, folder, text, manifest.quantization)
    else:
        parity = compared(file, folder, text, manifest.quantization)
    failed = parity["failed"] + unlike(folder, manifest.student_sha256)
    if failed:
        raise CheckFailed(f"{file} is not {folder} any more: {'; '.join(failed)}")
    from export.card import gate_table

    return Outcome(
        {"path": str(file), "sha256": digest, "gate": parity},
        [gate_table(parity), f"{file} is what its manifest names, and still its student"],
    )


def compared(
    file: Path, folder: Path, text: Path | None, quantization: dict[str, Any]
) -> dict[str, Any]:
    """The gate on the finished file; types are counted again first."""
    from export.checkpoint import open_checkpoint
    from export.parity import gate, texts_for, with_changes
    from export.quantize import read_back
    from export.types import type_named

    kind = quantization["type"]
    found = read_back(file, kind, quantization.get("tensors")).record()
    parity = gate(open_checkpoint(folder), {kind: (file, type_named(kind).bits)}, texts_for(text))
    return with_changes(parity, found, quantization)


def unlike(folder: Path, expected: str) -> list[str]:
    from distill.core.jsonl import sha256_of

    found = sha256_of(folder)
    if found == expected:
        return []
    return [f"the student's folder has changed (sha256 {found[:8]}..., expected {expected[:8]}...)"]
