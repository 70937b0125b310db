"""How fast a served file answers, and how much memory its server takes.

In: an exported file and dialogues. Out: `latency.json`, keyed by the file's digest: medians and
95th percentiles over one reply after another, seen from the client, on the machine described.
Replies are greedy. Refused: a file that cannot be served (Unavailable).
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.chat import OpenAIChat, Reply, Sampling
from distill.core.command import Outcome, command
from distill.core.jsonl import sha256_of, write_json
from distill.core.progress import track
from distill.core.records import Dialogue
from distill.core.serving import served
from eval.held_out import read_dialogues
from eval.machine import described, memory_of, usable_cores
from eval.outputs import writable_file
from eval.statistics import quantile

WARM_UP = [{"role": "user", "content": "Hello. I would like to talk with you for a while."}]
WARM_UPS = 2


def measured(chat: OpenAIChat, dialogues: Sequence[Dialogue], sampling: Sampling) -> list[Reply]:
    """Replies in turn, after a warm-up that is not counted."""
    for _ in range(WARM_UPS):
        chat.reply(WARM_UP, sampling)
    what = f"timing ({chat.model})"
    return [
        chat.reply(dialogue.messages(), sampling)
        for dialogue in track(dialogues, what, len(dialogues))
    ]


def figures(replies: Sequence[Reply]) -> dict[str, Any]:
    """Medians and percentiles; a reply of one token has no speed, and without any there is none."""
    waits = [reply.first_token_s for reply in replies]
    speeds = [reply.tokens_per_s for reply in replies if reply.tokens > 1]
    return {
        "first_token_s": statistics.median(waits),
        "first_token_p95_s": quantile(waits, 0.95),
        "tokens_per_s": statistics.median(speeds) if speeds else None,
        "tokens_per_s_p5": quantile(speeds, 0.05) if speeds else None,
        "tokens_per_s_p95": quantile(speeds, 0.95) if speeds else None,
        "prompts": len(replies),
        "prompt_tokens": statistics.median(reply.prompt_tokens for reply in replies),
        "reply_tokens": statistics.median(reply.tokens for reply in replies),
    }


def table(data: dict[str, Any]) -> Table:
    shown = Table(title=f"{data['file']} on {data['machine']['processor']}", show_header=False)
    speed = "no reply had two tokens"
    if data["tokens_per_s"] is not None:
        speed = (
            f"{data['tokens_per_s']:.0f} tokens per second "
            f"(95 % of replies at least {data['tokens_per_s_p5']:.0f})"
        )
    rows = {
        "first token": f"{data['first_token_s'] * 1000:.0f} ms "
        f"(95 % within {data['first_token_p95_s'] * 1000:.0f} ms)",
        "speed": speed,
        "peak memory": f"{data['peak_memory_bytes'] / 1e6:.0f} MB, {data['peak_memory_source']}",
        "file": f"{data['size_bytes'] / 1e6:.1f} MB",
        "measured over": f"{data['prompts']} prompts of {data['prompt_tokens']:.0f} tokens, "
        f"replies of {data['reply_tokens']:.0f} (medians), {data['threads']} threads",
        "artifact": f"sha256 {data['artifact_sha256'][:16]}...",
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


@command
def run(
    file: Annotated[Path, typer.Argument(help="An exported file (.gguf).")],
    dialogues: Annotated[Path, typer.Option(help="Where the prompts come from.")],
    out: Annotated[Path, typer.Option(help="File to write (.json).")],
    limit: Annotated[int, typer.Option(min=1, help="Time so many prompts.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the sample of prompts.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest reply.")] = 64,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of the server; default: physical cores.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a reply may take.")] = 120.0,
) -> Outcome:
    """Measure first token, tokens per second and memory of a served file."""
    prompts = read_dialogues(dialogues, limit, seed)
    digest = sha256_of(file)
    writable_file(out)
    cores = threads or usable_cores()
    with served(file, threads=cores) as server:
        chat = OpenAIChat(
            server.model, server.url, api_key="local", timeout_s=timeout, retries=0, stream=True
        )
        replies = measured(chat, prompts, Sampling(max_tokens, 0.0, seed))
        memory = memory_of(server.pid)
    data = {
        "artifact_sha256": digest,
        "file": str(file),
        "size_bytes": file.stat().st_size,
        **figures(replies),
        **memory,
        "threads": cores,
        "max_tokens": max_tokens,
        "seed": seed,
        "machine": described(),
    }
    write_json(out, data)
    return Outcome({**data, "out": str(out)}, [table(data)])
