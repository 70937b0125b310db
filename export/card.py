"""What an export says of itself: the manifest beside the file, and the lines on the screen."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from distill.core.jsonl import read_json, sha256_of
from distill.core.manifest import ArtifactManifest, FileDigest, tool_versions
from export.calibration import Calibration
from export.checkpoint import Checkpoint
from export.quantize import Quantization

if TYPE_CHECKING:
    from export.making import Made

LOUD_DIFFERENCE = 1.0


def manifest_for(
    checkpoint: Checkpoint,
    student_sha256: str,
    written: Path,
    made: "Made",
    more: Mapping[str, Any],
) -> ArtifactManifest:
    """The manifest of a file that will get its final name."""
    file = FileDigest(
        path=made.path.name, sha256=sha256_of(written), size_bytes=written.stat().st_size
    )
    own = {
        "reason": made.plan.reason,
        "tensors": dict(made.plan.tensors),
        "importance": importance_record(made.calibration),
    }
    record = {**made.found.record(), **own, **more}
    return manifest_of(checkpoint, student_sha256, [file], record, made.parity)


def manifest_of(
    checkpoint: Checkpoint,
    student_sha256: str,
    files: list[FileDigest],
    quantization: dict[str, Any],
    parity: dict[str, Any],
) -> ArtifactManifest:
    """Files of any format and what they come from, by the student's kindred.json."""
    known = checkpoint.folder / "kindred.json"
    provenance = read_json(known) if known.exists() else {}
    return ArtifactManifest(
        files=files,
        student=str(checkpoint.folder),
        student_sha256=student_sha256,
        base=provenance.get("base"),
        recipe_sha256=provenance.get("recipe_sha256"),
        data_sha256=provenance.get("data_sha256") or {},
        quantization=quantization,
        parity=parity,
        tools=tool_versions(),
    )


def importance_record(text: Calibration | None) -> dict[str, Any] | None:
    """On which dialogues importance was measured; the digest is the manifest's."""
    if text is None:
        return None
    return {
        "text": text.source,
        "conversations": len(text.conversations),
        "left_out_as_the_gates": text.left_out,
    }


def gate_table(parity: dict[str, Any]) -> Table:
    """Figures beside their limits, one row for each comparison.

    `greedy` is the share of a greedy reply on which both agree before they first differ, `ends`
    the share of finished replies that both end at the same place.
    """
    title = f"gate: {parity['conversations']} conversations, {parity['text']}"
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for name in ("file", "against"):
        table.add_column(name)
    for name in ("mean KLD", "limit", "top-1", "limit", "greedy", "ends", ""):
        table.add_column(name, justify="right")
    for link in parity["links"]:
        table.add_row(
            link["candidate"],
            link["reference"],
            f"{link['mean_kld']:.2g}",
            f"{link['most_mean_kld']:g}",
            f"{link['top1']:.1%}",
            f"{link['least_top1']:.0%}",
            share(link["greedy_prefix"]),
            share(link["end_of_turn"]),
            "failed" if link["failed"] else "passed",
        )
    return table


def share(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"


def file_lines(made: "Made") -> list[str]:
    """Path, size, bits, why this type, fallback; loud where the file is not what its name says."""
    found, target = made.found, made.path
    same = ", ".join(made.parity["identical"])
    lines = [
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, {found.parameters / 1e6:.1f} M weights",
        f"{found.type}: {found.nominal_bits_per_weight:.2f} bits per weight by name, "
        f"{found.bits_per_weight:.2f} in effect ({found.file_bits_per_weight:.2f} with metadata); "
        f"embedding {found.token_embedding}",
        f"why: {made.plan.reason}",
    ]
    if made.calibration:
        lines.append(
            f"importance from {len(made.calibration.conversations)} conversations of "
            f"{made.calibration.source}"
        )
    lines += [
        f"identical: {same}" if same else "the gate was skipped: nothing is known of this file",
        *(f"fell back: {tensor}" for tensor in found.fallback),
    ]
    if too_large(found):
        lines.append(
            f"WARNING: named {found.type}, yet {found.bits_per_weight:.2f} bits per weight: "
            + cause(found)
        )
    return lines


def cause(found: Quantization) -> str:
    """Why a file is larger than its name says."""
    if found.fallback:
        return (
            f"{len(found.fallback)} tensors fell back, because their rows are not divisible by "
            "256; try --bits 4, or a student whose widths are multiples of 256"
        )
    share = found.bytes_by_class.get("embedding", 0) / sum(found.bytes_by_class.values())
    return f"{share:.0%} of it is the embedding, kept as {found.token_embedding}; try --bits 4"


def too_large(found: Quantization) -> bool:
    return found.bits_per_weight - found.nominal_bits_per_weight > LOUD_DIFFERENCE
