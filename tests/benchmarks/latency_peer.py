"""What `distill eval latency` sees against a bare loop over llama.cpp, in one run, in turns.

    python -m tests.benchmarks.latency_peer FILE [--threads N] [--rounds N] [--tokens N]

Both read prompts of the same numbers of tokens that nobody has in a cache, and then write so many
tokens. The loop is the shortest there is (decode, sample, make text), which stands for llama-bench
where that is not installed; ours is asked over HTTP, through the chat template. The table holds
medians over rounds and the median of each round's ratio, ours to the loop's.
"""

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from distill.core.serving import served
from eval.machine import load as load_average
from eval.performance.client import Client
from eval.performance.figures import decode_speed, prefill_speed
from eval.performance.measuring import WIDE, warmed
from eval.performance.prompts import Messages, of_length, story
from runtime import load
from tests.benchmarks.decode_speed import Loop

LENGTHS = (32, 128, 512)
Speeds = tuple[float, float]


def ours(client: Client, messages: Messages, tokens: int, seed: int) -> Speeds:
    """Prompt and reply in tokens per second, as the command counts them."""
    replies = [client.ask(messages, limit=tokens, temperature=WIDE, seed=seed)]
    while (left := tokens - sum(reply.tokens for reply in replies)) > 1:
        seed += 1
        replies.append(client.ask(messages, limit=left, temperature=WIDE, seed=seed))
    return prefill_speed(replies[0]), decode_speed(replies) or float("nan")


def bare(loop: Loop, messages: Messages, tokens: int, seed: int) -> Speeds:
    speed = loop(messages, seed, tokens)
    return speed["prompt tokens/s"], speed["decode tokens/s"]


def table(found: dict[tuple[int, str], list[Speeds]], lengths: Sequence[int]) -> Table:
    shown = Table("", "ours, tokens/s", "loop, tokens/s", "ratio")
    for place, what in enumerate(("pp", "tg @ d")):
        for length in lengths:
            mine = [speeds[place] for speeds in found[length, "ours"]]
            theirs = [speeds[place] for speeds in found[length, "loop"]]
            ratio = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
            medians = (f"{statistics.median(values):.0f}" for values in (mine, theirs))
            shown.add_row(f"{what}{length}", *medians, f"{ratio:.2f}")
    return shown


def main(
    file: Path,
    threads: Annotated[int, typer.Option()] = physical_cores(),
    rounds: int = 5,
    tokens: int = 128,
) -> None:
    found: dict[tuple[int, str], list[Speeds]] = {}
    before = load_average()
    with (
        load(file, context=1024, threads=threads) as engine,
        served(file, threads=threads) as server,
        Client(server.url, server.model, 600) as client,
    ):
        loop = Loop(file, threads, engine)
        warmed(client, 0)
        shapes = {n: of_length(n, lambda m: len(engine.prompt_ids(m))) for n in LENGTHS}
        for number in range(rounds):
            for place, (length, (words, fill)) in enumerate(shapes.items()):
                messages = story(words, number * len(shapes) + place + 1, fill)
                mine = ours(client, messages, tokens, number)
                theirs = bare(loop, messages, tokens, number)
                found.setdefault((length, "ours"), []).append(mine)
                found.setdefault((length, "loop"), []).append(theirs)
        loop.close()
    Console().print(f"{file.name}: {threads} threads, {rounds} rounds, load {before} before")
    Console().print(table(found, LENGTHS))


if __name__ == "__main__":
    typer.run(main)
