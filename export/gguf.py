"""Write a student as a GGUF file and prove that it is still the student.

In: a checkpoint folder of a known architecture. Out: `edge/FOLDER-TYPE.gguf` beside it, with a
manifest, a card, a Modelfile and the text of its importance matrix. Refused: a checkpoint,
tokenizer, type or text that cannot be used, too little disk (exit 2), and a file that fails the
gate (exit 1); neither leaves anything under the final name.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.manifest import BY_NAME
from distill.core.naming import HOME, named
from export.options import (
    Device,
    Imatrix,
    Jobs,
    Judge,
    MaxBytes,
    MaxKld,
    Out,
    Push,
    Tensor,
    Text,
    YesPublish,
)

if TYPE_CHECKING:
    from export.making import Made, Order

DEFAULT_BITS = 4


@command
def run(
    student: Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.")],
    bits: Annotated[int | None, typer.Option(help="2 to 8, or 16; 4 without it.")] = None,
    type_: Annotated[
        str | None,
        typer.Option(
            "--type",
            help="llama.cpp's own mix instead: Q4_K_M, IQ3_M, Q8_0, ...",
            autocompletion=offered("export.types:TYPES"),
        ),
    ] = None,
    out: Out = None,
    text: Text = None,
    gate: Annotated[
        bool, typer.Option("--gate/--no-gate", help="Compare the file with the checkpoint.")
    ] = True,
    imatrix: Imatrix = None,
    tensor: Tensor = None,
    device: Device = None,
    max_bytes: MaxBytes = None,
    max_kld: MaxKld = None,
    judge: Judge = None,
    jobs: Jobs = 0,
    push: Push = None,
    yes_publish: YesPublish = False,
) -> Outcome:
    """Write a GGUF file and prove that it is still the student.

    The gate compares template, token ids and logits (KL divergence, best token) of the file with
    the checkpoint run by torch. A file that fails is not kept. With --device, --max-bytes or
    --max-kld the smallest type that fits and is not inferior is measured and chosen.
    """
    from export.checkpoint import open_checkpoint
    from export.publish import refuse_unasked, upload

    refuse_unasked(push, yes_publish)
    choosing = any(value is not None for value in (device, max_bytes, max_kld))
    if choosing and not gate:
        raise BadInput("a type is chosen by what is measured; leave --no-gate or the limits away")
    if judge and not choosing:
        raise BadInput("--judge decides between types; give --device, --max-bytes or --max-kld too")
    order = order_for(bits, type_, text, gate, imatrix, tensor, jobs)
    if choosing:
        from export.choice import choose, limits_for

        if bits is not None or type_ is not None:
            raise BadInput("--bits and --type name a type, and the limits choose one; give one")
        limits = limits_for(device, max_bytes, max_kld)
        folder = target_for(student, out, "TYPE")
        made, chosen = choose(open_checkpoint(student), folder, order, limits, judge, text)
    else:
        from export.making import make

        target = target_for(student, out, order.kind)
        made, chosen = make(open_checkpoint(student), target, order), []
    outcome = outcome_of(made, chosen)
    if push:
        outcome.text.append(upload(made.path, push))
    return outcome


def order_for(
    bits: int | None,
    name: str | None,
    text: Path | None,
    gate: bool,
    imatrix: str | None,
    tensors: list[str] | None,
    jobs: int,
) -> "Order":
    """What was asked for, with the reason for its type."""
    from distill.core.jsonl import existing
    from export.making import Order
    from export.parity import texts_for
    from export.types import refuse_without_importance, type_named, type_of_bits

    if bits is not None and name is not None:
        raise BadInput(f"--bits {bits} and --type {name} say the same thing twice; give one")
    if imatrix not in (None, "none"):
        existing(Path(imatrix))
    order = Order("", "", texts_for(text), gate, False, imatrix, tuple(tensors or ()), jobs)
    wanted = DEFAULT_BITS if bits is None else bits
    kind, why = (name, "") if name is not None else type_of_bits(wanted)
    type_named(kind)
    if imatrix == "none":
        refuse_without_importance(kind)
    if name is not None:
        return replace(order, kind=kind, reason=BY_NAME, own_mix=True)
    return replace(order, kind=kind, reason=f"{wanted} bits: {why}")


def outcome_of(made: "Made", chosen: list[Any]) -> Outcome:
    from distill.core.manifest import manifest_path
    from export.card import file_lines, gate_table

    data = {
        "path": str(made.path),
        "size_bytes": made.path.stat().st_size,
        **made.found.record(),
        "reason": made.plan.reason,
        "gate": made.parity,
        "manifest": str(manifest_path(made.path)),
    }
    table = [gate_table(made.parity)] if made.parity["links"] else []
    return Outcome(data, [*chosen, *table, *file_lines(made)])


def target_for(student: Path, out: Path | None, kind: str) -> Path:
    """A `.gguf` path is the file itself; any other path is a folder."""
    student = named(student)
    target = (out or student.parent / HOME) / f"{student.name}-{kind}.gguf"
    if out is not None and out.suffix == ".gguf":
        target = out
    in_the_way = [p for p in target.parents if p.exists() and not p.is_dir()]
    if target.is_dir() or in_the_way:
        raise BadInput(
            f"{target} cannot be written: {(in_the_way or [target])[0]} is a "
            f"{'file' if in_the_way else 'folder'}; choose another --out"
        )
    return target
