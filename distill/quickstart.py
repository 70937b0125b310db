"""The whole walk: dialogues, training sets, a student, a 4-bit file, answers, verdicts, a report.

In: nothing (offline, on the bundled starter), or `--base` with a name or folder of a real small
model. Out: `runs/quickstart/` with `student/`, `edge/*.gguf` and `report/`. A step that is done
is skipped, so a killed walk continues where it stopped.
"""

from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command, offered
from distill.core.progress import say
from distill.walk import Step, step, walk

CURRICULUM_DIALOGUES = 9000
SUGGESTED_BASE = "HuggingFaceTB/SmolLM2-135M-Instruct"


class Method(StrEnum):
    """How the student is trained."""

    two_step = "two-step"
    pride = "pride"


def starter_base() -> str:
    return str(resources.files("distill").joinpath("starter", "base"))


def steps(
    out: Path, base: str | None, recipe: str | None = None, method: Method = Method.two_step
) -> list[Step]:
    """The walk as a list; with `base`, the same walk on all 900 dialogues for a real model."""
    data, sets, student, edge = out / "data", out / "sets", out / "student", out / "edge"
    student_file, base_file = edge / "student-Q4_K_M.gguf", edge / "base-Q4_K_M.gguf"
    test = sets / "test.jsonl"
    pride = method is Method.pride
    recipe = recipe or ("pride" if pride else "starter" if base is None else "small")
    corpora = (
        ("starter", "--parts", "f", "curriculum", "--count", str(CURRICULUM_DIALOGUES))
        if base is None
        else ("starter",)
    )
    start = starter_base() if base is None else base

    def export(folder: object, name: str, file: Path) -> Step:
        words = ["export", "gguf", folder, "--bits", 4, "--out", file, "--text", test]
        return step(f"export {name}", words, file)

    def answer(file: Path, name: str) -> Step:
        target = out / "answers" / f"{name}.jsonl"
        words = ["eval", "answer", file, "--name", name, "--dialogues", test, "--out", target]
        return step(f"answer {name}", words, target)

    judged = ["eval", "winrate", out / "answers/student.jsonl", out / "answers/base.jsonl"]
    latency = ["eval", "latency", student_file, "--dialogues", test, "--out", out / "latency.json"]
    train = ["train", recipe, "--student", start, "--data", sets, "--out", student, "--resume"]
    train += ["--privileged", data] if pride else []
    return [
        step("gather", ["gather", *corpora, "--out", data], data / "dialogues.jsonl"),
        step("compose", ["compose", data, "--rule", "improved", "--out", sets], test),
        step("train", train, student / "kindred.json"),
        export(student, "student", student_file),
        export(start, "base", base_file),
        answer(student_file, "student"),
        answer(base_file, "base"),
        step(
            "winrate",
            [*judged, "--dialogues", test, "--judge", "offline", "--out", out / "judged"],
            out / "judged/winrate.json",
        ),
        step("latency", latency, out / "latency.json"),
        step("report", ["eval", "report", out], out / "report/report.html"),
    ]


def summary(results: dict[str, Any], seconds: dict[str, float], out: Path) -> Table:
    win, latency, file = results["winrate"], results["latency"], results["export student"]
    speed = latency["tokens_per_s"]
    table = Table(title=f"{out}: {sum(seconds.values()) / 60:.1f} minutes", show_header=False)
    rows = {
        "student wins against its base": rate_line(win),
        "the judge": f"{win['judge']}: {win['agreement_note']}",
        "the file": (
            f"{file['path']}: {file['size_bytes'] / 1e6:.1f} MB, "
            f"{file['bits_per_weight']:.2f} bits per weight, gate passed"
        ),
        "first token": f"{latency['first_token_s'] * 1000:.0f} ms (median)",
        "speed": f"{speed:.0f} tokens per second" if speed else "not measured",
        "peak memory": f"{latency['peak_memory_bytes'] / 1e6:.0f} MB",
        "report": str(out / "report/report.html"),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def rate_line(win: dict[str, Any]) -> str:
    """The win rate in words; no rate when nothing was decided."""
    aside = f"ties {win['ties']}, flips {win['flips']}, unreadable {win['unreadable']}"
    if win["win_rate"] is None:
        return f"nothing was decided ({aside})"
    low, high = win["interval"]
    return f"{win['win_rate']:.0%} of decided pairs ({low:.0%} to {high:.0%}; {aside})"


@command
def run(
    out: Annotated[Path, typer.Option(help="Where everything of this walk lives.")] = Path(
        "runs/quickstart"
    ),
    base: Annotated[
        str | None, typer.Option(help="A model name or folder to start from, instead of ours.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A recipe's name or file, instead of the one that fits.",
            autocompletion=offered("distill.recipe:bundled"),
        ),
    ] = None,
    method: Annotated[
        Method, typer.Option(help="SFT then DPO, or distillation from a teacher that knows more.")
    ] = Method.two_step,
) -> Outcome:
    """Walk from dialogues to a judged 4-bit student; offline, in minutes."""
    out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for done, result, took in walk(steps(out, base, recipe, method), out, "quickstart"):
        results[done.name], seconds[done.name] = result, took
    file = results["export student"]["path"]
    say("")
    return Outcome(
        {"out": str(out), "seconds": seconds, **results},
        [
            summary(results, seconds, out),
            "Next:",
            f"  distill runtime chat {file}",
            f"  distill demo chat {file}",
            f"  distill quickstart --base {SUGGESTED_BASE} --out runs/smollm2",
            "The starter is a toy that shows the walk. For real use start from a real small model,"
            " as the last line does (it needs a network once).",
        ],
    )
