"""Every GGUF type of the table: bits in effect and divergence from F16.

    python -m tests.benchmarks.every_type CHECKPOINT [--text FILE]

Each is llama.cpp's own mix with an importance matrix. A tensor in a type that the name does not
promise ends the run; with a student whose rows are multiples of 256 there is none.
"""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from export.agreement import Writer
from export.checkpoint import open_checkpoint
from export.making import Bench, Order
from export.parity import BATCH, LIMITS, passages_of, texts_for
from export.quantize import Plan, quantize, read_back
from export.recorded import Recorded
from export.session import Session
from export.types import TYPES
from tests.benchmarks.imatrix_quality import CONTEXT, figures_of


def main(
    checkpoint: Annotated[Path, typer.Argument()],
    text: Annotated[Path | None, typer.Option()] = None,
) -> None:
    table = Table("type", "bits", "mean KLD", "limit", "top-1", "limit", title=checkpoint.name)
    with tempfile.TemporaryDirectory() as name:
        folder, opened = Path(name), open_checkpoint(checkpoint)
        at = Bench(opened, folder, Order("Q4_K_M", "", texts_for(text), jobs=1))
        with Session(at.plain(), context=CONTEXT, batch=BATCH) as session:
            writer = Writer(session)
            passages = passages_of(opened, writer, at.order.texts.measured)
            reference = Recorded(writer, passages, folder / "rows")
        for kind in TYPES:
            file = folder / "file.gguf"
            quantize(at.plain(), file, Plan(kind, inputs=at.importance().matrix(), threads=1))
            found, figures = read_back(file, kind), figures_of(reference, file)
            if found.fallback:
                raise SystemExit(f"{kind}: {found.fallback[0]} is of another type")
            limit = LIMITS[TYPES[kind].bits]
            kld, top1 = f"{figures['mean_kld']:.2g}", f"{figures['top1']:.1%}"
            bits = f"{found.bits_per_weight:.2f}"
            table.add_row(kind, bits, kld, f"{limit.mean_kld:g}", top1, f"{limit.top1:.0%}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
