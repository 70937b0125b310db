"""An export killed with SIGKILL at random moments, and what stands under the final name.

    python -m tests.benchmarks.export_kills [gguf|onnx] [--kills 20] [--student FOLDER]

Without a student a small random one is exported. The aim: never a file or folder under the final
name that does not verify, and nothing left over after the last run.
"""

import random
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.export.killing import STAGES, ExportKilling
from tests.export.students import few_dialogues
from tests.models import tiny_checkpoint


def main(
    kind: Annotated[str, typer.Argument()] = "gguf",
    kills: Annotated[int, typer.Option()] = 20,
    student: Annotated[Path | None, typer.Option()] = None,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        student = student or tiny_checkpoint(folder / "student")
        few = ("--imatrix", few_dialogues(folder / "few.jsonl"))
        run = ExportKilling(student, folder / "edge", *few, kind=kind)
        # A whole file stands there from the start: a kill must not leave it beside a new manifest.
        run.finish()
        met, unsound = 0, 0
        for number in range(kills):
            stage = moments.choice(STAGES[kind])
            met += run.kill_at(stage, moments.uniform(0, 2))
            unsound += not run.sound()
            print(f"kill {number + 1}: at {stage}, sound: {run.sound()}", flush=True)
        said = run.finish()
        went, left = "went on" if "resuming" in said else "began anew", run.rubbish()
        table = Table("what", "found", "aim", title=f"{kind}, {kills} kills")
        table.add_row("kills of an export under way", str(met), str(kills))
        table.add_row("files that do not verify", str(unsound), "0")
        table.add_row("the last run", went, "-")
        table.add_row("verifies at the end", str(run.target.exists() and run.sound()), "True")
        table.add_row("left over", ", ".join(left) or "nothing", "nothing")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
