"""Ask a candidate for a reply to every held-out dialogue.

In: a candidate (exported file or ONNX folder, checkpoint folder, endpoint) and dialogues. Out:
answers, one a line, in the dialogues' order, and figures of them. Answers are kept beside the
output as they come, so a killed run asks only for what is missing. Greedy unless --temperature says
otherwise: two runs of one artifact then give the same answers.
"""

import statistics
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.chat import Reply, Sampling
from distill.core.command import Outcome, command
from distill.core.journal import Journal
from distill.core.jsonl import digest_text, write_jsonl
from distill.core.naming import artifact_name
from distill.core.progress import track
from distill.core.records import Answer, Dialogue
from eval.candidates import Candidate, CandidateOptions, open_candidate
from eval.held_out import read_dialogues
from eval.outputs import writable_file
from eval.replies import figures


def answer_of(dialogue: Dialogue, reply: Reply, name: str, sha256: str) -> Answer:
    return Answer(
        dialogue_id=dialogue.id,
        candidate=name,
        text=reply.text.strip(),
        artifact_sha256=sha256,
        first_token_s=reply.first_token_s,
        tokens_per_s=reply.tokens_per_s,
        tokens=reply.tokens,
        finish_reason=reply.finish_reason,
    )


def journal_path(
    out: Path, candidate: Candidate, name: str, dialogues: list[Dialogue], sampling: Sampling
) -> Path:
    """Where a run's answers wait; another candidate, sampling or dialogue is another run."""
    asked = "\n".join(dialogue.model_dump_json() for dialogue in dialogues)
    run = digest_text(f"{candidate.sha256} {name} {sampling} {asked}")[:12]
    return out.with_name(f".{out.name}.{run}.part")


def collect(
    candidate: Candidate, name: str, dialogues: list[Dialogue], sampling: Sampling, out: Path
) -> list[Answer]:
    """Every answer, in the order of the dialogues; only those not yet in the journal are asked."""
    waiting = journal_path(out, candidate, name, dialogues, sampling)
    with Journal(waiting, Answer) as journal:
        held = {answer.dialogue_id for answer in journal.records}
        wanted = [dialogue for dialogue in dialogues if dialogue.id not in held]
        replies = candidate.replies(wanted, sampling)
        for dialogue, reply in track(replies, f"answering ({name})", len(wanted)):
            journal.append(answer_of(dialogue, reply, name, candidate.sha256))
        given = {answer.dialogue_id: answer for answer in journal.records}
    answers = [given[dialogue.id] for dialogue in dialogues]
    write_jsonl(out, answers)
    waiting.unlink(missing_ok=True)
    return answers


def table(data: dict[str, Any]) -> Table:
    shown = Table(title=f"{data['candidate']}: {data['answers']} answers", show_header=False)
    rows = {
        "mean words": f"{data['mean_words']:.1f}",
        "ended by themselves": f"{data['ended_share']:.1%}",
        "empty": str(data["empty"]),
        "with a repeated run of 4 words": str(data["loops"]),
        "distinct-1, distinct-2": ", ".join(
            "none" if share is None else f"{share:.3f}"
            for share in (data["distinct_1"], data["distinct_2"])
        ),
        "first token": f"{data['first_token_s'] * 1000:.0f} ms (median)",
        "speed": f"{data['tokens_per_s']:.0f} tokens per second (median)",
        "artifact": f"sha256 {data['artifact_sha256'][:16]}...",
        "answers": data["out"],
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


@command
def run(
    candidate: Annotated[
        str, typer.Argument(help="Exported file or ONNX folder, checkpoint, or URL.")
    ],
    dialogues: Annotated[Path, typer.Option(help="Held-out dialogues (sets/test.jsonl).")],
    out: Annotated[Path, typer.Option(help="File of answers to write (.jsonl).")],
    name: Annotated[
        str | None, typer.Option(help="What to call it; default: its file name or model.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name at an endpoint.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Answer so many dialogues.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample, and of sampling.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest reply.")] = 256,
    temperature: Annotated[
        float, typer.Option(min=0, help="0 is greedy and repeats exactly.")
    ] = 0.0,
    concurrency: Annotated[
        int | None,
        typer.Option(min=1, help="Dialogues at once; default: file 1, endpoint 4, folder 16."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of a served file.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a reply may take.")] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="Attempts after a call that failed.")] = 4,
) -> Outcome:
    """Ask a candidate for a reply to every held-out dialogue; a killed run continues."""
    held_out = read_dialogues(dialogues, limit, seed)
    writable_file(out)
    given = name or model or artifact_name(Path(candidate))
    options = CandidateOptions(model, concurrency, threads, timeout, retries)
    with open_candidate(candidate, options) as opened:
        answers = collect(opened, given, held_out, Sampling(max_tokens, temperature, seed), out)
    data = {
        "answers": len(answers),
        "candidate": given,
        "artifact_sha256": answers[0].artifact_sha256,
        **figures(answers),
        "first_token_s": statistics.median(answer.first_token_s for answer in answers),
        "tokens_per_s": statistics.median(answer.tokens_per_s for answer in answers),
        "out": str(out),
    }
    return Outcome(data, [table(data)])
