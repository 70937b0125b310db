"""Prompt and decode speed of our engine, in process and over HTTP, against llama-cpp-python.

    python -m tests.benchmarks.decode_speed FILE [--threads N] [--rounds N]

Every round runs the three in turn on the same file, prompt, threads and sampling; the table holds
medians over rounds, and medians of each round's ratio to `llama_cpp.Llama.generate`. The prompt is
never taken from a cache. Sampling is wide, so that replies are long; those that end early count as
they are.
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from runtime import load
from runtime.cores import physical_cores
from runtime.engine import Engine
from tests.runtime.serving import Serving

SAMPLING: dict[str, Any] = {"temperature": 1.5, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "

Speed = dict[str, float]
Measure = Callable[[list[dict[str, str]], int, int], Speed]


def speeds(prompt_tokens: int, started: float, first: float, last: float, tokens: int) -> Speed:
    return {
        "prompt tokens/s": prompt_tokens / (first - started),
        "decode tokens/s": (tokens - 1) / (last - first) if tokens > 1 else float("nan"),
        "first token s": first - started,
    }


def plain(llama: Any, engine: Engine) -> Measure:
    """llama-cpp-python's own loop, each token made text as a stream would."""

    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        ids = engine.prompt_ids(messages)
        llama.reset()
        llama.set_seed(seed)
        names = {"temp": SAMPLING["temperature"], **SAMPLING}
        names.pop("temperature")
        started = first = last = time.perf_counter()
        count = 0
        for token in llama.generate(ids, **names):
            last = time.perf_counter()
            first = first if count else last
            if token == llama.token_eos() or count == limit:
                break
            llama.detokenize([token]).decode("utf-8", "ignore")
            count += 1
        return speeds(len(ids), started, first, last, count)

    return measure


def ours(engine: Engine) -> Measure:
    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        started = first = last = time.perf_counter()
        reply = engine.chat(messages, seed=seed, max_tokens=limit, **SAMPLING)
        for place, _ in enumerate(reply):
            last = time.perf_counter()
            first = first if place else last
        return speeds(reply.prompt_tokens, started, first, last, reply.tokens)

    return measure


def over_http(server: Serving, client: httpx.Client) -> Measure:
    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        body = {
            "model": server.ready["model"],
            "messages": messages,
            "seed": seed,
            "max_tokens": limit,
            "stream": True,
            "stream_options": {"include_usage": True},
            **SAMPLING,
        }
        started = first = last = time.perf_counter()
        usage: dict[str, int] = {}
        with client.stream("POST", f"{server.url}/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if event["choices"] and event["choices"][0]["delta"].get("content"):
                    last = time.perf_counter()
                    first = first if first > started else last
                usage = event.get("usage") or usage
        return speeds(usage["prompt_tokens"], started, first, last, usage["completion_tokens"])

    return measure


def paired_ratio(quantity: str, ours: list[Speed], plain: list[Speed]) -> float:
    """Median of each round's ratio: rounds on a shared machine differ more than loops do."""
    pairs = zip(ours, plain, strict=True)
    return statistics.median(a[quantity] / b[quantity] for a, b in pairs)


def table(rounds: dict[str, list[Speed]]) -> Table:
    shown = Table("", *(f"{name}" for name in rounds), *(f"{n} / plain" for n in list(rounds)[1:]))
    for quantity in ("prompt tokens/s", "decode tokens/s", "first token s"):
        medians = [statistics.median(r[quantity] for r in found) for found in rounds.values()]
        first, *others = rounds.values()
        ratios = [f"{paired_ratio(quantity, other, first):.2f}" for other in others]
        shown.add_row(quantity, *(f"{value:.4g}" for value in medians), *ratios)
    return shown


def main(
    file: Path,
    threads: Annotated[int, typer.Option()] = physical_cores(),
    rounds: int = 9,
    tokens: int = 128,
    sentences: int = 12,
) -> None:
    from llama_cpp import Llama

    llama = Llama(str(file), n_ctx=1024, n_threads=threads, n_threads_batch=threads, verbose=False)
    found: dict[str, list[Speed]] = {"plain": [], "engine": [], "http": []}
    log = Path(f"{file}.serve.log")
    with (
        load(file, context=1024, threads=threads) as engine,
        Serving(file, log, "--context", "1024", "--threads", str(threads)) as server,
        httpx.Client(timeout=600) as client,
    ):
        measures = dict(
            zip(found, (plain(llama, engine), ours(engine), over_http(server, client)), strict=True)
        )
        for number in range(rounds + 1):
            # Another first word each round, so that nothing is cached.
            text = f"{number} " + SENTENCE * sentences
            messages = [{"role": "user", "content": text}]
            for name, measure in measures.items():
                speed = measure(messages, number, tokens)
                if number:
                    found[name].append(speed)
    llama.close()
    log.unlink()
    Console().print(f"{file.name}: {threads} threads, median of {rounds} rounds")
    Console().print(table(found))


if __name__ == "__main__":
    typer.run(main)
