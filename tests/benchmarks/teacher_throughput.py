"""Calls at once through the ledger, against a loop over the official client in the same run.

    python -m tests.benchmarks.teacher_throughput [--calls N] [--sequential N] [--concurrency N]

The service is the stand-in for OpenAI, in a process of its own, at 200 ms a call. Both ask the
same prompts with the same parameters; ours writes every reply to the ledger, synced. The loop asks
a sample of them, half before ours and half after, and its time is scaled by the number of calls.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import openai
import typer
from rich.console import Console
from rich.table import Table

from distill.core.asking import Ask, Terms, ask_all
from distill.core.chat.table import open_chat
from distill.core.ledger import Ledger
from tests.distill.core.asks import asks

MODEL = "gpt-4o"


@contextmanager
def stand_in(latency_ms: float) -> Iterator[str]:
    words = ["fake-openai", "--latency-ms", str(latency_ms), "--json"]
    command = [sys.executable, "-m", "distill.dev", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout is not None
        try:
            yield str(json.loads(service.stdout.readline())["base_url"])
        finally:
            service.terminate()


def sequential_s(url: str, wanted: list[Ask]) -> float:
    """Seconds for one call after another, as the reference script makes them."""
    client = openai.OpenAI(
        base_url=url, api_key="none", http_client=openai.DefaultHttpxClient(trust_env=False)
    )
    started = time.perf_counter()
    for ask in wanted:
        client.chat.completions.create(
            model=MODEL,
            messages=ask.messages,  # type: ignore[arg-type]
            max_tokens=ask.sampling.max_tokens,
            temperature=ask.sampling.temperature,
        )
    return time.perf_counter() - started


def at_once_s(url: str, wanted: list[Ask], concurrency: int) -> float:
    """Seconds for all, with the opening of the chat and of an empty ledger."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        chat = open_chat(f"openai:{MODEL}", base_urls=[url])
        with Ledger(Path(folder) / "ledger.sqlite") as ledger:
            found = list(ask_all(wanted, chat, ledger, Terms(concurrency)))
        seconds = time.perf_counter() - started
    assert len({one.ask.id for one in found if one.reply}) == len(wanted)
    return seconds


def main(
    calls: Annotated[int, typer.Option()] = 1000,
    sequential: Annotated[int, typer.Option()] = 200,
    concurrency: Annotated[int, typer.Option()] = 8,
    latency_ms: Annotated[float, typer.Option()] = 200.0,
) -> None:
    wanted = asks(calls)
    with stand_in(latency_ms) as url:
        at_once_s(url, asks(2), concurrency)
        half = sequential // 2
        before = sequential_s(url, wanted[:half])
        ours = at_once_s(url, wanted, concurrency)
        sample = before + sequential_s(url, wanted[half:sequential])
    theirs = sample / sequential * calls
    table = Table("what", "calls made", "seconds", f"for {calls} calls", "times faster")
    table.add_row("one after another", str(sequential), f"{sample:.1f}", f"{theirs:.1f}", "1.0")
    name = f"{concurrency} at once, with ledger"
    table.add_row(name, str(calls), f"{ours:.1f}", f"{ours:.1f}", f"{theirs / ours:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
