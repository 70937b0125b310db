"""Several streams at once: aggregate speed, and how long a second stream waits for its first token.

    python -m tests.benchmarks.concurrent_decode FILE [--threads N] [--rounds N] [--tokens N]

In process, on one engine. Each round runs one stream alone, then four together, then a second one
that joins a running one; the table holds medians over rounds of the aggregate decode speed, its
ratio to the single stream of the same round, the second stream's time to its first token against
waiting for the first one's end, and the longest gap that the running stream saw meanwhile. The
running stream writes four times `tokens`; the joining one asks in a third of the sentences.
"""

import statistics
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from runtime import load
from runtime.engine import Engine, Reply

SAMPLING: dict[str, Any] = {"temperature": 1.5, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "


def endless(engine: Engine, word: str, sentences: int, tokens: int) -> Reply:
    """A reply that does not end by itself, so that every stream has the length that was asked."""
    ending = engine.backend.control.get(engine.backend.end_text)
    bias = {} if ending is None else {ending: -100.0}
    messages = [{"role": "user", "content": f"{word} " + SENTENCE * sentences}]
    return engine.chat(messages, max_tokens=tokens, seed=1, logit_bias=bias, **SAMPLING)


def times_of(engine: Engine, word: str, sentences: int, tokens: int) -> list[float]:
    """When the reply was asked for, then when each of its tokens came."""
    times = [time.perf_counter()]
    for _ in endless(engine, word, sentences, tokens):
        times.append(time.perf_counter())
    return times


def together(engine: Engine, words: list[str], sentences: int, tokens: int) -> list[list[float]]:
    found: dict[str, list[float]] = {}

    def work(word: str) -> None:
        found[word] = times_of(engine, word, sentences, tokens)

    threads = [threading.Thread(target=work, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(found.values())


def aggregate(streams: list[list[float]]) -> float:
    """Tokens per second while all of them were being written."""
    begin, end = max(times[1] for times in streams), min(times[-1] for times in streams)
    return sum(begin < moment <= end for times in streams for moment in times[1:]) / (end - begin)


def joining(engine: Engine, number: int, sentences: int, tokens: int) -> tuple[float, float]:
    """First token of a second stream over the first one's rest; the first's longest gap, in s."""
    reply = endless(engine, f"{number}j", sentences, tokens)
    gaps, times = 0.0, [time.perf_counter()]
    second: list[list[float]] = []
    other = threading.Thread(
        target=lambda: second.append(times_of(engine, f"{number}k", sentences // 3, 4))
    )
    for place, _ in enumerate(reply):
        times.append(time.perf_counter())
        if place == 4:
            other.start()
        gaps = max(gaps, times[-1] - times[-2]) if place > 4 else gaps
    other.join()
    asked, first, *_ = second[0]
    return (first - asked) / (times[-1] - asked + first - asked), gaps


def main(
    file: Path,
    threads: Annotated[int, typer.Option()] = physical_cores(),
    rounds: int = 7,
    tokens: int = 128,
    sentences: int = 12,
) -> None:
    shown = Table("", "median")
    found: dict[str, list[float]] = {}
    with load(file, context=2048, threads=threads, cells=4096) as engine:
        for number in range(rounds + 1):
            one = aggregate([times_of(engine, f"{number}", sentences, tokens)])
            words = [f"{number}{letter}" for letter in "abcd"]
            four = aggregate(together(engine, words, sentences, tokens))
            ratio, gap = joining(engine, number, sentences, 4 * tokens)
            if number:
                row = {
                    "one stream, tokens/s": one,
                    "four streams, tokens/s": four,
                    "four / one": four / one,
                    "second's first token / waiting for the first's end": ratio,
                    "longest gap of the running stream, ms": gap * 1000,
                }
                for name, value in row.items():
                    found.setdefault(name, []).append(value)
    for name, values in found.items():
        shown.add_row(name, f"{statistics.median(values):.3g}")
    Console().print(f"{file.name}: {threads} threads, median of {rounds} rounds")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
