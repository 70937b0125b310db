"""What an importance matrix and types by sensitivity are worth, on dialogues held out of both.

    python -m tests.benchmarks.imatrix_quality CHECKPOINT [--text FILE] [--type Q4_K_M]

Mean KL divergence from the F16 file. Plain is llama.cpp's own mix; the aim is 0.85 of its
divergence at no more bytes.
"""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from export.agreement import Writer, rows_of_file
from export.checkpoint import open_checkpoint
from export.making import Bench, Order
from export.parity import BATCH, LONGEST_PASSAGE, REPLY_TOKENS, passages_of, texts_for
from export.quantize import Plan, quantize
from export.recorded import Recorded
from export.session import Session

CONTEXT = LONGEST_PASSAGE + REPLY_TOKENS


def figures_of(reference: Recorded, file: Path) -> dict[str, Any]:
    with Session(file, context=CONTEXT, batch=BATCH) as session:
        return reference.against(file.name, rows_of_file(session)).figures()


def plans(at: Bench, kind: str) -> dict[str, Plan]:
    matrix = at.importance().matrix()
    order = Order(kind, "", at.order.texts, jobs=1)
    return {
        "plain": Plan(kind, threads=1),
        "importance matrix": Plan(kind, inputs=matrix, threads=1),
        "and types by sensitivity": at.plan(order),
    }


def main(
    checkpoint: Annotated[Path, typer.Argument()],
    text: Annotated[Path | None, typer.Option()] = None,
    kind: Annotated[str, typer.Option("--type")] = "Q4_K_M",
) -> None:
    table = Table(
        "file", "bytes", "mean KLD", "of plain", "top-1", title=f"{checkpoint.name} {kind}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder, opened = Path(name), open_checkpoint(checkpoint)
        at = Bench(opened, folder, Order(kind, "", texts_for(text), jobs=1))
        with Session(at.plain(), context=CONTEXT, batch=BATCH) as session:
            writer = Writer(session)
            passages = passages_of(opened, writer, at.order.texts.measured)
            reference = Recorded(writer, passages, folder / "rows")
        first = 0.0
        for label, plan in plans(at, kind).items():
            quantize(at.plain(), folder / "file.gguf", plan)
            found = figures_of(reference, folder / "file.gguf")
            first = first or found["mean_kld"]
            table.add_row(
                label,
                f"{(folder / 'file.gguf').stat().st_size:,}",
                f"{found['mean_kld']:.5f}",
                f"{found['mean_kld'] / first:.2f}",
                f"{found['top1']:.1%}",
            )
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
