"""Time and peak memory of building every improvement prompt: 1,696 dialogues by 7 strategies.

    python -m tests.benchmarks.prompt_building
    python -m tests.benchmarks.prompt_building --data GATHERED

Runs `distill improve --over human --dry-run`, which builds and counts each prompt and asks
nothing, in a process of its own. Without `--data` the dialogues are made: a situation of 20
words and a human reply of 15, all rated and all for training. With it, the test split is left
out, as ever.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from distill.core.jsonl import write_json, write_jsonl
from distill.core.records import Dialogue, Response, Turn
from distill.teaching.strategies import STRATEGIES

DIALOGUES, SAID_WORDS, REPLY_WORDS = 1696, 20, 15
TEACHER = "openai:gpt-4o"


def made(folder: Path) -> Path:
    rng = random.Random(0)
    words = [f"word{number}" for number in range(5000)]
    names = [f"d{number}" for number in range(DIALOGUES)]
    dialogues = [
        Dialogue(
            id=name,
            source="made",
            turns=[Turn(role="user", content=" ".join(rng.choices(words, k=SAID_WORDS)))],
            split="train",
        )
        for name in names
    ]
    replies = [
        Response(
            id=f"{name}/human",
            dialogue_id=name,
            text=" ".join(rng.choices(words, k=REPLY_WORDS)),
            author="human",
            rating=number % 3 + 1,
        )
        for number, name in enumerate(names)
    ]
    write_jsonl(folder / "dialogues.jsonl", dialogues)
    write_jsonl(folder / "responses.jsonl", replies)
    write_json(folder / "gather.json", {"corpora": []})
    return folder


def built(data: Path, ledger: Path) -> dict[str, object]:
    """What the dry run counted, with the seconds and the memory that its process took."""
    chosen = [word for name in STRATEGIES for word in ("--strategy", name)]
    words = ["improve", data, *chosen, "--over", "human", "--teacher", TEACHER, "--dry-run"]
    argv = [sys.executable, "-m", "distill", *map(str, words), "--ledger", str(ledger), "--json"]
    began = time.monotonic()
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    counted = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the dry run failed: {counted}")
    return {
        "seconds": round(time.monotonic() - began, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024, 1),
        "strategies": len(STRATEGIES),
        "tasks": counted["tasks"],
        "prompts": counted["calls"],
        "input_tokens": counted["input_tokens"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Path(folder) / "ledger.sqlite"
        print(json.dumps(built(options.data or made(Path(folder)), ledger)))


if __name__ == "__main__":
    main()
