"""Decode speed of our ONNX backend against onnxruntime-genai's own generator.

    python -m tests.benchmarks.onnx_decode FOLDER [--threads N] [--rounds N] [--tokens N]

Both open the same folder with the same threads, take the same prompt and write greedily; one round
runs them in turn. Ours is timed twice: the bare graph with an argmax, and the whole engine (text,
stop strings, sampler). The table holds medians, and medians of each round's ratio; processor time
stands beside the wall's, which others on the machine disturb.
"""

import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import onnxruntime_genai
import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from runtime import load
from runtime.backends import Work
from runtime.backends.onnx import Onnx

MESSAGES = [{"role": "user", "content": "My sister has not called since we argued. " * 4}]
Measured = tuple[float, float]  # tokens per second: wall, processor


def timed(steps: Callable[[], int]) -> Measured:
    wall, processor = time.perf_counter(), time.process_time()
    count = steps()
    return count / (time.perf_counter() - wall), count / (time.process_time() - processor)


def genai(folder: Path, threads: int, prompt: list[int], tokens: int) -> Callable[[], Measured]:
    """The peer, with as many threads, which it takes from its configuration."""
    config = json.loads((folder / "genai_config.json").read_text())
    config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
    # Greedy replies may end early, and then nothing would be compared.
    config["model"]["eos_token_id"] = config["model"]["vocab_size"] - 1
    (folder / "genai_config.json").write_text(json.dumps(config))
    model = onnxruntime_genai.Model(str(folder))

    def measure() -> Measured:
        parameters = onnxruntime_genai.GeneratorParams(model)
        parameters.set_search_options(max_length=len(prompt) + tokens + 2, do_sample=False)
        generator = onnxruntime_genai.Generator(model, parameters)
        generator.append_tokens(prompt)
        generator.generate_next_token()

        def steps() -> int:
            for _ in range(tokens):
                generator.generate_next_token()
                generator.get_next_tokens()
            return tokens

        return timed(steps)

    return measure


def bare(backend: Onnx, prompt: list[int], tokens: int) -> Callable[[], Measured]:
    def measure() -> Measured:
        held = backend.keep(0, 0)
        for start in range(0, len(prompt), backend.chunk):
            part = prompt[start : start + backend.chunk]
            backend.decode([Work(0, part, held, True)])
            held += len(part)

        def steps() -> int:
            for place in range(held, held + tokens):
                token = int(backend.logits(0).argmax())
                backend.decode([Work(0, [token], place, True)])
            return tokens

        return timed(steps)

    return measure


def main(folder: Path, threads: int = physical_cores(), rounds: int = 7, tokens: int = 100) -> None:
    found: dict[str, list[Measured]] = {"genai": [], "graph": [], "engine": []}
    with tempfile.TemporaryDirectory() as scratch, load(folder, threads=threads) as engine:
        copy = Path(shutil.copytree(folder, Path(scratch) / "folder"))
        prompt = engine.prompt_ids(MESSAGES)
        backend = Onnx(folder, context=1024, threads=threads)

        def whole() -> Measured:
            never = dict.fromkeys(backend.ends, -100.0)
            reply = engine.chat(MESSAGES, temperature=0, max_tokens=tokens + 1, logit_bias=never)
            next(reply)
            return timed(lambda: sum(1 for _ in reply))

        measures = dict(
            zip(
                found,
                (genai(copy, threads, prompt, tokens), bare(backend, prompt, tokens), whole),
                strict=True,
            )
        )
        for number in range(rounds + 1):
            for name, measure in measures.items():
                speed = measure()
                if number:
                    found[name].append(speed)
        backend.close()
    table = Table("", "tokens/s", "per processor second", "ratio", "ratio (processor)")
    for name, speeds in found.items():
        medians = [statistics.median(each) for each in zip(*speeds, strict=True)]
        pairs = list(zip(speeds, found["genai"], strict=True))
        ratios = [statistics.median(ours[i] / peer[i] for ours, peer in pairs) for i in (0, 1)]
        table.add_row(name, *(f"{m:.0f}" for m in medians), *(f"{r:.2f}" for r in ratios))
    Console().print(f"{folder.name}: {threads} threads, {tokens} tokens, median of {rounds} rounds")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
