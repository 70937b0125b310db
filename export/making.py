"""From a checkpoint to a judged file: F16, importance, plan, quantization, gate, manifest.

In: an order. Out: the file under its final name with its manifest, calibration text and
hand-over; or an error and nothing. Each stage is written once; after a kill, the next run of the
same order goes on from the last whole one.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.core.errors import CheckFailed
from distill.core.jsonl import digest_text, sha256_of
from distill.core.manifest import ArtifactManifest, describe, tool_versions, write_manifest
from distill.core.progress import remarks
from export.calibration import Calibration, calibration, calibration_path, write_beside
from export.card import gate_table, manifest_for
from export.checkpoint import Checkpoint
from export.f16 import write_f16
from export.handover import write_handover
from export.importance import Importance, importance_of, load_importance, save_importance
from export.mixture import ABOVE, Prices, mixed
from export.parity import BUNDLED, SKIPPED, Texts, gate
from export.quantize import (
    Plan,
    Quantization,
    chosen_tensors,
    matrices_of,
    quantize,
    read_back,
)
from export.types import type_named
from export.workshop import once, put_in_place, refuse_without_room, workshop

ENOUGH_BITS = 8
F16_BITS = 16
# What a mix may take beyond its name where rows fall back, and the widest block of a trial.
FALLBACK_BITS, WIDEST_BITS = 2.0, 8.5


@dataclass(frozen=True)
class Order:
    """What a person asked for; `own_mix` leaves llama.cpp's mix as it is."""

    kind: str
    reason: str
    texts: Texts
    gate: bool = True
    own_mix: bool = False
    imatrix: str | None = None
    tensors: tuple[str, ...] = ()
    jobs: int = 0

    @property
    def calibrated(self) -> bool:
        """Whether an importance matrix is measured: types of 8 bits and more make no use of it."""
        return self.imatrix != "none" and type_named(self.kind).bits < ENOUGH_BITS


@dataclass(frozen=True)
class Made:
    """A written file and what is known of it."""

    path: Path
    found: Quantization
    plan: Plan
    parity: dict[str, Any]
    calibration: Calibration | None


class Bench:
    """An open workshop: what all files of one checkpoint share is made once, when first needed."""

    def __init__(
        self, checkpoint: Checkpoint, folder: Path, order: Order, student_sha256: str = ""
    ) -> None:
        self.checkpoint, self.folder, self.order = checkpoint, folder, order
        self.student_sha256 = student_sha256
        self.calibration: Calibration | None = None
        self._importance: Importance | None = None
        self._written: dict[str, tuple[Path, Quantization]] = {}
        self.prices: Prices = {}

    def plain(self) -> Path:
        """The F16 file."""
        return once(self.folder / "F16.gguf", lambda path: write_f16(self.checkpoint, path))

    def importance(self) -> Importance:
        """Measured on dialogues that the gate does not use, and read once for all types."""
        if self._importance is not None:
            return self._importance
        text, judged = self.order.imatrix, self.order.texts
        own = calibration(Path(text) if text else None, [*judged.exact, *judged.measured])
        self.calibration = own

        def measure(path: Path) -> None:
            save_importance(importance_of(self.checkpoint, own.conversations), path)

        self._importance = load_importance(once(self.folder / "importance.npz", measure))
        return self._importance

    def plan(self, order: Order) -> Plan:
        """How the order's type is written."""
        plain = self.plain()
        tensors = chosen_tensors(order.tensors, list(matrices_of(plain))) if order.tensors else {}
        plan = Plan(order.kind, order.reason, tensors, threads=order.jobs)
        if not order.calibrated:
            return plan
        importance = self.importance()
        plan = replace(plan, inputs=importance.matrix())
        if order.own_mix:
            return plan
        return mixed(plain, self.folder / "trial.part", plan, importance, self.prices)

    def write(self, plan: Plan) -> tuple[Path, Quantization]:
        """The file of a plan, and what it holds; there is one plan for a type, written once."""
        if plan.type == "F16" and not plan.tensors:
            return self.plain(), read_back(self.plain(), "F16")
        if plan.type not in self._written:
            path = self.folder / f"{plan.type}.gguf.part"
            quantize(self.plain(), path, plan)
            self._written[plan.type] = path, read_back(path, plan.type, plan.tensors)
        return self._written[plan.type]

    def forget(self, kind: str) -> None:
        """Make room: the file of this type, if there is one, is not needed any more."""
        if kind in self._written:
            self._written.pop(kind)[0].unlink()


@contextmanager
def bench(checkpoint: Checkpoint, target: Path, order: Order, room_bytes: int) -> Iterator[Bench]:
    """The workshop of an export, once the disk has room for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    refuse_without_room(target, room_bytes)
    texts = [order.texts.exact, order.texts.measured, order.imatrix and sha_of(order.imatrix)]
    student = sha256_of(checkpoint.folder)
    key = [student, digest_text(json.dumps(texts)), tool_versions()]
    with workshop(target, json.dumps(key)) as folder:
        yield Bench(checkpoint, folder, order, student)


def weights_of(checkpoint: Checkpoint) -> int:
    return sum(math.prod(shape) for _, shape in checkpoint.shapes())


def room_for(order: Order, weights: int) -> int:
    """Bytes that lie side by side at most: F16, the file, and a trial where types are mixed."""
    bits, kind = float(F16_BITS), type_named(order.kind)
    if order.kind != "F16":
        below = order.calibrated
        bits += kind.nominal_bits_per_weight + (FALLBACK_BITS if below else 0)
        if below and not order.own_mix:
            bits += min(WIDEST_BITS, kind.nominal_bits_per_weight + ABOVE)
    return math.ceil(bits * weights / 8)


def sha_of(imatrix: str) -> str:
    return imatrix if imatrix == "none" else sha256_of(Path(imatrix))


def make(checkpoint: Checkpoint, target: Path, order: Order) -> Made:
    """Write, judge, and only then give the file its name."""
    with bench(checkpoint, target, order, room_for(order, weights_of(checkpoint))) as at:
        return finish(at, target, order, at.plan(order))


def finish(at: Bench, target: Path, order: Order, plan: Plan, **more: Any) -> Made:
    """From a plan to the file in its place; `more` goes into the manifest's record."""
    written, found = at.write(plan)
    parity = judged(at, written, order) if order.gate else SKIPPED
    refuse_failed(target, parity)
    made = Made(target, found, plan, parity, at.calibration)
    manifest = manifest_for(at.checkpoint, at.student_sha256, written, made, more)
    put_in_place(written, target, lambda: write_manifest_beside(target, manifest, at.calibration))
    write_handover(at.checkpoint, target)
    return made


def refuse_failed(target: Path, parity: dict[str, Any]) -> None:
    """CheckFailed with the table of the gate, where anything failed."""
    if not parity["failed"]:
        return
    why = "; ".join(parity["failed"])
    if parity["links"]:
        remarks().print(gate_table(parity))
        if parity["text"] == BUNDLED:
            why += f"; judged on {BUNDLED}, --text takes dialogues like those it was trained on"
    raise CheckFailed(f"{target} was not written, the gate failed: {why}")


def write_manifest_beside(
    target: Path, manifest: ArtifactManifest, text: Calibration | None
) -> None:
    """What stands beside a file before it gets its name; the text is one of its files."""
    if text:
        write_beside(calibration_path(target), text)
        manifest.files.append(describe(calibration_path(target)))
    write_manifest(target, manifest)


def judged(at: Bench, written: Path, order: Order) -> dict[str, Any]:
    files = {"F16": (at.plain(), 16)}
    files[order.kind] = (written, type_named(order.kind).bits)
    return gate(at.checkpoint, files, order.texts)
