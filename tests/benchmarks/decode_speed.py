"""Prompt and decode speed of our engine, in process and over HTTP, against llama.cpp's own.

    python -m tests.benchmarks.decode_speed FILE [--threads N] [--rounds N] [--port N]

Every round runs the four in turn on the same file, prompt, threads and sampling: a bare loop over
llama.cpp's C interface, our engine, our server, and `python -m llama_cpp.server`. The table holds
medians over rounds, and medians of each round's ratio: the engine's to the bare loop, our server's
to llama-cpp-python's. The prompt is never taken from a cache. Sampling is wide, so that replies
are long; those that end early count as they are.
"""

import ctypes
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import httpx
import llama_cpp.llama_cpp as native
import typer
from rich.console import Console
from rich.table import Table

from runtime import load
from runtime.backends import Sampling
from runtime.backends.llama_cpp_sampling import links
from runtime.cores import physical_cores
from runtime.engine import Engine
from tests.benchmarks.peer_server import peer
from tests.runtime.serving import Serving

SAMPLING: dict[str, Any] = {"temperature": 1.5, "top_k": 40, "top_p": 1.0, "min_p": 0.0}
SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "
RATIOS = {"engine": "loop", "server": "llama_cpp.server"}
CONTEXT = 1024

Speed = dict[str, float]
Measure = Callable[[list[dict[str, str]], int, int], Speed]


def speeds(prompt_tokens: int, started: float, first: float, last: float, tokens: int) -> Speed:
    return {
        "prompt tokens/s": prompt_tokens / (first - started),
        "decode tokens/s": (tokens - 1) / (last - first) if tokens > 1 else float("nan"),
        "first token s": first - started,
    }


class Loop:
    """The shortest loop that decodes, samples and makes text."""

    def __init__(self, file: Path, threads: int, engine: Engine) -> None:
        self.engine = engine
        self.model = native.llama_model_load_from_file(
            str(file).encode(), native.llama_model_default_params()
        )
        self.vocab = native.llama_model_get_vocab(self.model)
        settings = native.llama_context_default_params()
        settings.n_ctx, settings.n_threads, settings.n_threads_batch = CONTEXT, threads, threads
        self.context = native.llama_init_from_model(self.model, settings)

    def __call__(self, messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        ids = self.engine.prompt_ids(messages)
        chain = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        for link in links(self.engine.backend.vocabulary, 64, Sampling(**SAMPLING, seed=seed)):
            native.llama_sampler_chain_add(chain, link)
        started = first = last = time.perf_counter()
        native.llama_memory_clear(native.llama_get_memory(self.context), False)
        tokens = (native.llama_token * len(ids))(*ids)
        native.llama_decode(self.context, native.llama_batch_get_one(tokens, len(ids)))
        text, one = ctypes.create_string_buffer(256), (native.llama_token * 1)()
        batch = native.llama_batch_get_one(one, 1)
        count = 0
        while True:
            one[0] = native.llama_sampler_sample(chain, self.context, -1)
            last = time.perf_counter()
            first = first if count else last
            count += 1
            if count == limit or native.llama_vocab_is_eog(self.vocab, one[0]):
                break
            native.llama_token_to_piece(self.vocab, one[0], text, 256, 0, False)
            text.value.decode("utf-8", "ignore")
            native.llama_decode(self.context, batch)
        native.llama_sampler_free(chain)
        return speeds(len(ids), started, first, last, count)

    def close(self) -> None:
        native.llama_free(self.context)
        native.llama_model_free(self.model)


def in_process(engine: Engine) -> Measure:
    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        started = first = last = time.perf_counter()
        reply = engine.chat(messages, seed=seed, max_tokens=limit, **SAMPLING)
        for place, _ in enumerate(reply):
            last = time.perf_counter()
            first = first if place else last
        return speeds(reply.prompt_tokens, started, first, last, reply.tokens)

    return measure


def over_http(url: str, model: str, client: httpx.Client, engine: Engine) -> Measure:
    """Tokens are counted by our tokenizer, for the peer's stream tells no usage."""

    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        body = {
            "model": model,
            "messages": messages,
            "seed": seed,
            "max_tokens": limit,
            "stream": True,
            **SAMPLING,
        }
        started = first = last = time.perf_counter()
        text = ""
        with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if event["choices"] and (more := event["choices"][0]["delta"].get("content")):
                    text += more
                    last = time.perf_counter()
                    first = first if first > started else last
        prompt, count = len(engine.prompt_ids(messages)), len(engine.backend.encode(text))
        return speeds(prompt, started, first, last, count)

    return measure


def table(rounds: dict[str, list[Speed]]) -> Table:
    shown = Table("", *rounds, *(f"{one} / {other}" for one, other in RATIOS.items()))
    for quantity in ("prompt tokens/s", "decode tokens/s", "first token s"):
        medians = [statistics.median(r[quantity] for r in found) for found in rounds.values()]
        # Of each round: rounds on a shared machine differ more than loops do.
        ratios = [
            statistics.median(
                a[quantity] / b[quantity] for a, b in zip(rounds[x], rounds[y], strict=True)
            )
            for x, y in RATIOS.items()
        ]
        shown.add_row(
            quantity, *(f"{v:.4g}" for v in medians), *(f"{ratio:.2f}" for ratio in ratios)
        )
    return shown


def main(
    file: Path,
    threads: Annotated[int, typer.Option()] = physical_cores(),
    rounds: int = 9,
    tokens: int = 128,
    sentences: int = 12,
    port: int = 8766,
) -> None:
    found: dict[str, list[Speed]] = {}
    log = Path(f"{file}.serve.log")
    words = ("--context", str(CONTEXT), "--threads", str(threads))
    with (
        load(file, context=CONTEXT, threads=threads) as engine,
        Serving(file, log, *words) as server,
        peer(file, port=port, context=CONTEXT, threads=threads),
        httpx.Client(timeout=600) as client,
    ):
        loop = Loop(file, threads, engine)
        theirs = f"http://127.0.0.1:{port}/v1"
        measures: dict[str, Measure] = {
            "loop": loop,
            "engine": in_process(engine),
            "server": over_http(server.url, server.ready["model"], client, engine),
            "llama_cpp.server": over_http(theirs, str(file), client, engine),
        }
        for number in range(rounds + 1):
            # Another first word each round, so that nothing is cached.
            text = f"{number} " + SENTENCE * sentences
            for name, measure in measures.items():
                speed = measure([{"role": "user", "content": text}], number, tokens)
                if number:
                    found.setdefault(name, []).append(speed)
        loop.close()
    log.unlink()
    Console().print(f"{file.name}: {threads} threads, median of {rounds} rounds")
    Console().print(table(found))


if __name__ == "__main__":
    typer.run(main)
