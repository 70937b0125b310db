"""Store what a teacher thinks of every reply, token by token, so that training needs no teacher.

In: a folder of `distill gather` or `distill compose`, and a teacher. Out: a store (see
docs/teacher_store.md): hidden states and log-normalizers of the response tokens beside the
teacher's head, or its likeliest tokens with `--top-k`. Refused: another tokenizer than the
student's, options that do not go together (BadInput), a disk that is too small (Unavailable), a
store that is not what the teacher says (CheckFailed).
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.progress import say


@command
def run(
    data: Annotated[
        Path, typer.Argument(help="A folder that `distill gather` or `distill compose` wrote.")
    ],
    teacher: Annotated[str, typer.Option(help="A folder or Hub name; a name with --top-logprobs.")],
    out: Annotated[
        Path | None, typer.Option(help="The store to write; may be left out with --dry-run.")
    ] = None,
    student: Annotated[
        str | None, typer.Option(help="The student, whose template ends a reply; else the teacher.")
    ] = None,
    privileged: Annotated[
        Path | None, typer.Option(help="The gathered folder with the fields, for composed sets.")
    ] = None,
    prompt: Annotated[
        Literal["reasoning", "notes"], typer.Option(help="How the recipe asks its teacher.")
    ] = "reasoning",
    plain_too: Annotated[
        bool, typer.Option("--plain-too", help="Also without the fields, for the leakage gauge.")
    ] = False,
    precision: Annotated[
        Literal["bf16", "int8"], typer.Option(help="Of the stored states.")
    ] = "bf16",
    group: Annotated[int, typer.Option(min=1, help="Numbers that share a scale in int8.")] = 64,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Store the likeliest tokens alone: a lower bound.")
    ] = None,
    top_logprobs: Annotated[
        Path | None, typer.Option(help="JSON lines of a service's log-probabilities by response.")
    ] = None,
    part: Annotated[
        str | None, typer.Option("--shard", help="The part I/N of the replies alone, as in 2/5.")
    ] = None,
    shard_mb: Annotated[int, typer.Option(min=1, help="Megabytes of a file of the store.")] = 256,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print how large the store will be; load no weights.")
    ] = False,
) -> Outcome:
    """Store a teacher's states; a run that was stopped goes on with the same command."""
    if out is None and not dry_run:
        raise BadInput("say where to write with --out FOLDER, or count first with --dry-run")
    from distill.learning.teacher_cache_capture import refuse_full_disk, size_of
    from distill.learning.teacher_cache_job import Wish, planned, store_model, store_service

    wish = Wish(
        data, teacher, student, privileged, prompt, plain_too, precision, group, top_k,
        top_logprobs, part,
    )  # fmt: skip
    plan = planned(wish)
    size = size_of(plan.header.layout, plan.replies)
    if dry_run or out is None:
        return Outcome({"dry_run": True, **asdict(size)}, [size.line()])
    say(size.line())
    refuse_full_disk(out, size.total_bytes)
    if top_logprobs is None:
        found = store_model(plan, out, shard_mb * 2**20)
    else:
        found = store_service(plan, out)
    return Outcome(found, lines_of(found))


def lines_of(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{found['store']}: {found['replies']} replies, {found['tokens']} tokens, "
        f"{found['bytes_per_token']} bytes a token, {found['size_bytes'] / 1e6:.1f} MB in all; "
        f"{found['computed']} replies are new"
    ]
    if found["tier"] == "top-k":
        lines.append("a top-k store gives a lower bound of the reverse KL, never the exact value")
    if found.get("without_logprobs"):
        lines.append(f"left out, without log-probabilities: {found['without_logprobs']} replies")
    if (check := found["check"]) is not None:
        lines.append(
            f"checked {check['replies']} replies ({check['tokens']} tokens) against the teacher: "
            f"KL {check['mean_kl']:.2e} nats a token, at most {check['largest_kl']:.2e}; "
            f"log-probabilities off by at most {check['largest_log_p_error']:.2e}"
        )
    return lines
