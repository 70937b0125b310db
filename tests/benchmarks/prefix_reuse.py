"""What the cache saves: first token of turn 5 against the same prompt cold, alone and interleaved.

    python -m tests.benchmarks.prefix_reuse FILE [--threads N] [--rounds N]

Each round holds one chat of five turns, then two chats whose turns alternate; their last prompts
are then asked again of an engine that has never seen them. A chat begins with eight sentences and
goes on with two a turn. The table holds medians over rounds.
"""

import statistics
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from runtime import load
from runtime.engine import Engine, Reply

TURNS = 5
SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "

Messages = list[dict[str, str]]


def answer(engine: Engine, messages: Messages) -> tuple[str, Reply]:
    reply = engine.chat(messages, max_tokens=40, seed=1)
    return "".join(piece.text for piece in reply), reply


def talk(engine: Engine, words: list[str]) -> tuple[list[Reply], list[Messages]]:
    """The last reply and the last prompt of each chat; the chats take turns."""
    chats: list[Messages] = [[] for _ in words]
    last: list[Reply] = []
    for turn in range(TURNS):
        last = []
        for word, chat in zip(words, chats, strict=True):
            chat.append(
                {"role": "user", "content": f"{word} {turn} {SENTENCE * (2 if turn else 8)}"}
            )
            text, reply = answer(engine, chat)
            last.append(reply)
            if turn + 1 < TURNS:
                chat.append({"role": "assistant", "content": text})
    return last, chats


def first_token_s(reply: Reply) -> float:
    return reply.timings()["first_token_s"]


def main(
    file: Path,
    threads: Annotated[int, typer.Option()] = physical_cores(),
    rounds: int = 5,
) -> None:
    found: dict[str, list[float]] = {}
    with load(file, context=2048, threads=threads) as engine:
        for number in range(rounds + 1):
            for kind, words in (("alone", ["a"]), ("interleaved", ["b", "c"])):
                replies, chats = talk(engine, [f"{number}{word}" for word in words])
                with load(file, context=2048, threads=threads) as fresh:
                    answer(fresh, [{"role": "user", "content": "warm up"}])
                    cold = [first_token_s(answer(fresh, chat)[1]) for chat in chats]
                if number:
                    for reply, cold_s in zip(replies, cold, strict=True):
                        found.setdefault(kind, []).append(first_token_s(reply) / cold_s)
                        share = reply.cached_tokens / reply.prompt_tokens
                        found.setdefault(f"{kind}, share cached", []).append(share)
    shown = Table("turn 5 / cold", "median")
    for name, values in found.items():
        shown.add_row(name, f"{statistics.median(values):.3f}")
    Console().print(f"{file.name}: {threads} threads, median of {rounds} rounds")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
