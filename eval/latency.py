"""How fast a served file answers, and how much memory its server takes.

In: an exported file (GGUF, or an ONNX folder), and dialogues if there are some. Out: `latency.json`
keyed by the file's digest, `latency.csv` with every sample, `latency.png`. All of it is seen from a
client of the very server that the device would run. Refused: a file that cannot be served
(Unavailable), a plan that cannot be kept: threads that are not there, prompts beyond the context
(BadInput).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import DEVICE_PROFILES, Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.identity import digest_of
from distill.core.jsonl import write_json
from distill.core.machine import physical_cores
from distill.core.naming import exported_artifact, run_of
from distill.core.records import Dialogue, Turn
from eval.browser import browser_tables, in_browser
from eval.held_out import read_dialogues
from eval.machine import described, load
from eval.outputs import writable_file
from eval.performance.figures import by_length, figures, median_of
from eval.performance.measuring import Plan, Sample
from eval.performance.prompts import OPENINGS
from eval.performance.session import Found, Subject, measured
from eval.performance.shown import tables
from eval.performance.table import milliseconds, write_csv

LENGTHS = (32, 128, 512, 1024)


def results(subject: Subject, plan: Plan, found: Found, sha256: str) -> dict[str, Any]:
    file, talk = subject.file, [s for s in found.samples if s.kind == "dialogue"]
    return {
        "artifact_sha256": sha256,
        "file": str(file),
        "format": "onnx" if file.is_dir() else "gguf",
        "size_bytes": size_of(file),
        **figures([sample.reply for sample in talk], plan.seed),
        "lengths": by_length(found.samples, plan.seed),
        "load": {
            "start_s": median_of(found.loads_s, plan.seed),
            "first_reply_s": median_of([r.first_token_s for r in found.first_replies], plan.seed),
            "servers": len(found.loads_s),
        },
        **found.memory,
        "energy": found.energy,
        "profile": subject.profile,
        "threads": found.threads,
        "context": found.context,
        "max_tokens": plan.max_tokens,
        "repeats": plan.repeats,
        "seed": plan.seed,
        "replies": [kept(sample) for sample in talk],
    }


def kept(sample: Sample) -> dict[str, Any]:
    """One reply to a dialogue, as the report draws it."""
    reply = sample.reply
    return {
        "dialogue_id": sample.name,
        "prompt_tokens": reply.prompt_tokens,
        "tokens": reply.tokens,
        "first_token_s": round(reply.first_token_s, 6),
        "tokens_per_s": reply.tokens_per_s,
        "between_pieces_ms": [float(milliseconds(gap)) for gap in reply.between_s],
    }


def size_of(file: Path) -> int:
    parts = file.rglob("*") if file.is_dir() else [file]
    return sum(part.stat().st_size for part in parts if part.is_file())


def openings() -> list[Dialogue]:
    """What is said when no dialogues are given."""
    return [
        Dialogue(
            id=f"opening-{n}",
            source="bundled",
            split="test",
            turns=[Turn(role="user", content=said)],
        )
        for n, said in enumerate(OPENINGS, 1)
    ]


def refuse_unkept(threads: Sequence[int], profile: str | None) -> None:
    if profile and threads:
        raise BadInput("a device profile says how many threads; leave out --threads or --profile")
    most = physical_cores()
    if threads and max(threads) > most:
        raise BadInput(f"--threads {max(threads)}: this process may use {most} cores; give no more")


@command
def run(
    file: Annotated[Path, typer.Argument(help="An exported file (.gguf) or an ONNX folder.")],
    dialogues: Annotated[
        Path | None, typer.Option(help="Where the prompts come from; default: ten of ours.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File to write (.json); CSV and plot stand beside it.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            help="Hold the server to phone-4gb, phone-6gb, phone-8gb, laptop or a file.",
            autocompletion=offered(DEVICE_PROFILES),
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="Time so many dialogues.")] = 20,
    lengths: Annotated[
        list[int] | None, typer.Option("--length", min=16, help="Tokens of a prompt; repeatable.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Prompts of each length.")] = 5,
    decode_tokens: Annotated[int, typer.Option(min=2, help="Tokens after each of those.")] = 128,
    loads: Annotated[int, typer.Option(min=1, help="Servers started to time the start.")] = 3,
    seed: Annotated[int, typer.Option(help="Of the sample of dialogues and of drawing.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest reply to a dialogue.")] = 64,
    threads: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Threads of the server; repeatable; default: physical cores."),
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds of silence to bear.")] = 120.0,
    browser: Annotated[
        bool, typer.Option("--browser", help="Also in headless Chromium, at the speed of phones.")
    ] = False,
) -> Outcome:
    """Measure first token, tokens per second and memory of a served file."""
    refuse_unkept(threads or [], profile)
    talk = read_dialogues(dialogues, limit, seed) if dialogues else openings()[:limit]
    file = exported_artifact(file)
    sha256 = digest_of(file)
    out = writable_file(out or run_of(file) / "latency.json")  # where the report looks
    plan = Plan(talk, sorted(lengths or LENGTHS), repeats, max_tokens, decode_tokens, seed)
    subject = Subject(file, profile, timeout)
    wanted: list[int | None] = [*threads] if threads else [None if profile else physical_cores()]
    there = in_browser(file, talk, max_tokens) if browser else []
    before = load()
    found = measured(subject, plan, wanted, loads)
    machine = described() | {"load_before": before, "load_after": load()}
    data = {**results(subject, plan, found, sha256), "machine": machine, "browser": there}
    write_csv(out.with_suffix(".csv"), found.samples, sha256)
    write_plot(out.with_suffix(".png"), data)
    write_json(out, data)
    beside = {kind: str(out.with_suffix(f".{kind}")) for kind in ("csv", "png")}
    return Outcome(
        {**data, "out": str(out), **beside},
        [*tables(data), *browser_tables(there), f"written: {out}, .csv, .png"],
    )


def write_plot(path: Path, data: dict[str, Any]) -> None:
    from eval.performance.plots import drawn

    path.write_bytes(drawn(data))
