"""Judgements at once, with ledger and journal, against a loop over the official client.

    python -m tests.benchmarks.judging_throughput [--pairs N] [--sequential N] [--concurrency N]

The service is the stand-in for OpenAI, in a process of its own, at 200 ms a call. The loop asks a
sample of the same prompts, half before ours and half after, and is scaled by the number of calls.
Then a run of `distill eval winrate` is killed on its way and started again: printed is how many
calls the service answered twice (aim: none that was recorded; at most those under way).
"""

import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from distill.core.asking import Terms
from distill.core.chat import OpenAIChat
from distill.core.journal import Journal
from distill.core.records import Judgement
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from eval.held_out import read_answers, read_dialogues
from eval.judges.chat import ChatJudge
from eval.judges.rubric import read_rubric
from eval.judging import Pair, judge_pairs, missing
from eval.winrate import pairs_of
from tests.benchmarks.teacher_throughput import MODEL, sequential_s, stand_in
from tests.eval.pairs import write_answers, write_dialogues

KILL_SHARE = 0.4


def files(folder: Path, count: int) -> list[Path]:
    longer = [f"That sounds hard, number {n}. How are you holding up?" for n in range(count)]
    shorter = [f"Oh no, {n}." for n in range(count)]
    return [
        write_answers(folder / "a.jsonl", "a", longer),
        write_answers(folder / "b.jsonl", "b", shorter),
        write_dialogues(folder / "test.jsonl", count),
    ]


def pairs_in(paths: list[Path]) -> list[Pair]:
    return pairs_of(read_dialogues(paths[2]), read_answers(paths[0]), read_answers(paths[1]))


def judge_at(url: str, ledger: Path, concurrency: int) -> ChatJudge:
    chat = OpenAIChat(MODEL, base_url=url)
    return ChatJudge(chat, read_rubric("empathy"), ledger, terms=Terms(concurrency))


def at_once_s(url: str, pairs: list[Pair], folder: Path, concurrency: int) -> float:
    started = time.perf_counter()
    judge = judge_at(url, folder / "ledger.sqlite", concurrency)
    with Journal(folder / "judgements.jsonl", Judgement) as journal:
        judged = judge_pairs(pairs, judge, journal)
    seconds = time.perf_counter() - started
    assert judged.asked == 2 * len(pairs) and not judged.failures
    return seconds


def killed_and_resumed(folder: Path, count: int, concurrency: int) -> dict[str, int]:
    """What the service counted over a run that was killed and the one that went on."""
    a, b, dialogues = files(folder, count)
    with FakeOpenAI(Faults(50.0)) as server:
        words = [
            a,
            b,
            "--dialogues",
            dialogues,
            "--out",
            folder / "out",
            "--base-url",
            server.base_url,
        ]
        words += ["--judge", f"openai:{MODEL}", "--concurrency", concurrency, "--json"]
        command = [sys.executable, "-m", "distill", "eval", "winrate", *map(str, words)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as run:
            while server.counts()["answered"] < KILL_SHARE * 2 * count and run.poll() is None:
                time.sleep(0.01)
            run.send_signal(signal.SIGKILL)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(server.counts())


def main(
    pairs: Annotated[int, typer.Option()] = 500,
    sequential: Annotated[int, typer.Option()] = 100,
    concurrency: Annotated[int, typer.Option()] = 8,
    latency_ms: Annotated[float, typer.Option()] = 200.0,
) -> None:
    with tempfile.TemporaryDirectory() as name, stand_in(latency_ms) as url:
        folder = Path(name)
        wanted = pairs_in(files(folder, pairs))
        with Journal(folder / "none.jsonl", Judgement) as journal:
            judge = judge_at(url, folder / "none.sqlite", concurrency)
            asks = [judge.ask(call) for call in missing(wanted, judge, journal)]
        half = sequential // 2
        before = sequential_s(url, asks[:half])
        ours = at_once_s(url, wanted, folder, concurrency)
        sample = before + sequential_s(url, asks[half:sequential])
    theirs = sample / sequential * len(asks)
    with tempfile.TemporaryDirectory() as name:
        counts = killed_and_resumed(Path(name), min(pairs, 100), concurrency)
    table = Table("what", "found", "aim")
    table.add_row("one after another", f"{theirs:.1f} s for {len(asks)}", "")
    table.add_row(f"{concurrency} at once, with ledger", f"{ours:.1f} s", "")
    table.add_row("times faster", f"{theirs / ours:.2f}", ">= 7")
    table.add_row("answered twice after a kill", str(counts["repeated"]), f"<= {concurrency}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
