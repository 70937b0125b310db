"""Prompt and decode speed of our engine, in process and over HTTP, against llama.cpp's own.

    python -m tests.benchmarks.decode_speed FILE [--threads N] [--rounds N] [--in-process]

Every round runs the five in turn on the same file, prompt, threads and sampling: a bare loop over
llama.cpp's C interface, our engine with one chat, our engine whose cache earlier chats fill (what
they hold makes each token's attention longer), our server, and `python -m llama_cpp.server`. The
table holds medians over rounds, and medians of each round's ratio: the engine's to the bare loop,
our server's to llama-cpp-python's. The prompt is never taken from a cache. Sampling is wide; in
process the end token is forbidden, so that every reply has its full length (the peer would copy
all logits into Python to forbid it, so over HTTP replies end where they end). Processor seconds of
this process stand beside the clock's for those that run in it (`--in-process` measures these
alone): on a machine that others use they are what can be compared.
"""

import ctypes
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import httpx
import llama_cpp.llama_cpp as native
import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from runtime import load
from runtime.backends import Sampling
from runtime.backends.llama_cpp_sampling import links
from runtime.engine import Engine
from tests.benchmarks.peer_server import peer
from tests.runtime.serving import Serving

# Without a penalty, which the file would recommend to our engine alone.
SAMPLING: dict[str, Any] = {
    "temperature": 1.5,
    "top_k": 40,
    "top_p": 1.0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "
RATIOS = {"engine": "loop", "engine, full": "loop", "server": "llama_cpp.server"}
CONTEXT = 1024

Speed = dict[str, float]
Measure = Callable[[list[dict[str, str]], int, int], Speed]


class Moment(NamedTuple):
    """The clock, and the processor time of this process."""

    wall_s: float
    used_s: float


def now() -> Moment:
    return Moment(time.perf_counter(), time.process_time())


def speeds(
    prompt_tokens: int, started: Moment, first: Moment, last: Moment, tokens: int, here: bool = True
) -> Speed:
    def rate(used: bool) -> float:
        took_s = last[used] - first[used]
        return (tokens - 1) / took_s if tokens > 1 and took_s else float("nan")

    return {
        "prompt tokens/s": prompt_tokens / (first.wall_s - started.wall_s),
        "decode tokens/s": rate(False),
        "decode tokens/processor s": rate(True) if here else float("nan"),
        "first token s": first.wall_s - started.wall_s,
    }


def endless(engine: Engine) -> dict[int, float]:
    """A bias that forbids the end of a reply."""
    ending = engine.backend.control.get(engine.backend.end_text)
    return {} if ending is None else {ending: -100.0}


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
        pairs = [native.llama_logit_bias(*pair) for pair in endless(self.engine).items()]
        biases = (native.llama_logit_bias * len(pairs))(*pairs)
        size = self.engine.backend.vocabulary
        forbids = native.llama_sampler_init_logit_bias(size, len(pairs), biases)
        for link in (forbids, *links(Sampling(**SAMPLING, seed=seed))):
            native.llama_sampler_chain_add(chain, link)
        started = first = last = now()
        native.llama_memory_clear(native.llama_get_memory(self.context), False)
        tokens = (native.llama_token * len(ids))(*ids)
        native.llama_decode(self.context, native.llama_batch_get_one(tokens, len(ids)))
        text, one = ctypes.create_string_buffer(256), (native.llama_token * 1)()
        batch = native.llama_batch_get_one(one, 1)
        count = 0
        while True:
            one[0] = native.llama_sampler_sample(chain, self.context, -1)
            last = now()
            first = first if count else last
            count += 1
            native.llama_vocab_is_eog(self.vocab, one[0])
            if count == limit:
                break
            native.llama_token_to_piece(self.vocab, one[0], text, 256, 0, False)
            text.value.decode("utf-8", "ignore")
            native.llama_decode(self.context, batch)
        native.llama_sampler_free(chain)
        return speeds(len(ids), started, first, last, count)

    def close(self) -> None:
        native.llama_free(self.context)
        native.llama_model_free(self.model)


def one_chat(file: Path, threads: int) -> Measure:
    """An engine that has only been warmed up."""

    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        with load(file, context=CONTEXT, threads=threads) as engine:
            list(engine.chat([{"role": "user", "content": "warm"}], max_tokens=4, seed=0))
            return in_process(engine)(messages, seed, limit)

    return measure


def in_process(engine: Engine) -> Measure:
    def measure(messages: list[dict[str, str]], seed: int, limit: int) -> Speed:
        started = first = last = now()
        bias = endless(engine)
        reply = engine.chat(messages, seed=seed, max_tokens=limit, logit_bias=bias, **SAMPLING)
        for place, _ in enumerate(reply):
            last = now()
            first = first if place else last
        assert reply.tokens == limit
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
        started = first = last = now()
        text = ""
        with client.stream("POST", f"{url}/chat/completions", json=body) as answer:
            for line in answer.iter_lines():
                if not line.startswith("data: {"):
                    continue
                event = json.loads(line[6:])
                if event["choices"] and (more := event["choices"][0]["delta"].get("content")):
                    text += more
                    last = now()
                    first = first if first > started else last
        prompt, count = len(engine.prompt_ids(messages)), len(engine.backend.encode(text))
        return speeds(prompt, started, first, last, count, here=False)

    return measure


def servers(
    file: Path, threads: int, port: int, engine: Engine, stack: ExitStack
) -> dict[str, Measure]:
    """Ours and theirs, until the stack is closed."""
    log = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "log"
    words = ("--context", str(CONTEXT), "--threads", str(threads))
    server = stack.enter_context(Serving(file, log, *words))
    stack.enter_context(peer(file, port=port, context=CONTEXT, threads=threads))
    client = stack.enter_context(httpx.Client(timeout=600))
    theirs = f"http://127.0.0.1:{port}/v1"
    return {
        "server": over_http(server.url, server.ready["model"], client, engine),
        "llama_cpp.server": over_http(theirs, str(file), client, engine),
    }


def table(rounds: dict[str, list[Speed]]) -> Table:
    ratios_of = {one: other for one, other in RATIOS.items() if one in rounds}
    shown = Table("", *rounds, *(f"{one} / {other}" for one, other in ratios_of.items()))
    for quantity in rounds["loop"][0]:
        medians = [statistics.median(r[quantity] for r in found) for found in rounds.values()]
        # Of each round: rounds on a shared machine differ more than loops do.
        ratios = [
            statistics.median(
                a[quantity] / b[quantity] for a, b in zip(rounds[x], rounds[y], strict=True)
            )
            for x, y in ratios_of.items()
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
    here: Annotated[bool, typer.Option("--in-process")] = False,
) -> None:
    found: dict[str, list[Speed]] = {}
    with ExitStack() as stack:
        engine = stack.enter_context(load(file, context=CONTEXT, threads=threads))
        loop = Loop(file, threads, engine)
        stack.callback(loop.close)
        measures: dict[str, Measure] = {
            "loop": loop,
            "engine": one_chat(file, threads),
            "engine, full": in_process(engine),
        }
        if not here:
            measures |= servers(file, threads, port, engine, stack)
        for number in range(rounds + 1):
            # Another first word each round, so that nothing is cached.
            text = f"{number} " + SENTENCE * sentences
            for name, measure in measures.items():
                speed = measure([{"role": "user", "content": text}], number, tokens)
                if number:
                    found.setdefault(name, []).append(speed)
    Console().print(f"{file.name}: {threads} threads, median of {rounds} rounds")
    Console().print(table(found))


if __name__ == "__main__":
    typer.run(main)
