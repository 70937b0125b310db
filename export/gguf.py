"""Write a student as a GGUF file.

In: a checkpoint folder. Out: `FOLDER-TYPE.gguf` and its manifest. Refused: what
`export.checkpoint`, `export.vocabulary` and `export.quantize` refuse.
"""

from pathlib import Path
from typing import Annotated

import typer

from distill.core.command import Outcome, command


@command
def run(
    student: Annotated[Path, typer.Argument(help="Folder of a Hugging Face checkpoint.")],
    out: Annotated[Path | None, typer.Option(help="File or folder to write.")] = None,
) -> Outcome:
    """Write a GGUF file."""
    from distill.core.jsonl import replacing
    from export.checkpoint import open_checkpoint
    from export.f16 import write_f16
    from export.quantize import quantize_within

    checkpoint = open_checkpoint(student)
    target = out or student.parent / "edge" / f"{student.name}-Q4_K_M.gguf"
    with replacing(target) as temporary:
        plain = temporary.with_suffix(".f16")
        write_f16(checkpoint, plain)
        found = quantize_within(plain, temporary, "Q4_K_M")
        plain.unlink()
    return Outcome({"path": str(target), **found.record()}, [str(target)])
