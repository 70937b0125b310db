"""Peak memory of gather and curate on corpora of different sizes, in processes of their own.

    python -m tests.benchmarks.streaming_memory 100000 1000000

Rows are made: words drawn by Zipf's law, one dialogue and one response a row, and one row in a
thousand repeats an earlier one, so that near-duplicates are found. Prints a table and one JSON
line: peak resident memory in MB, CPU seconds, and what came out.
"""

import argparse
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

WORDS, USER_WORDS, REPLY_WORDS = 30_000, 22, 25
REPEATED = 1000


def rows(count: int) -> Iterator[str]:
    rng = random.Random(0)
    words = [f"w{number}" for number in range(WORDS)]
    weights = list(itertools.accumulate(1 / (rank + 1) for rank in range(WORDS)))

    def text(length: int) -> str:
        return " ".join(rng.choices(words, cum_weights=weights, k=length))

    said = text(USER_WORDS)
    for number in range(count):
        if number % REPEATED:
            said = text(USER_WORDS)
        messages = [
            {"role": "user", "content": said},
            {"role": "assistant", "content": text(REPLY_WORDS)},
        ]
        yield json.dumps({"id": f"d{number}", "messages": messages}) + "\n"


def measured(*words: object) -> dict[str, float]:
    """Peak memory and CPU time of one command."""
    code = f"import distill.{words[0]} as verb, typer; typer.run(verb.run)"
    argv = [sys.executable, "-c", code, *map(str, words[1:]), "--json"]
    started = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(started.pid, 0)
    started.returncode = os.waitstatus_to_exitcode(status)
    if started.returncode:
        raise SystemExit(f"{words[0]} failed")
    return {"peak_mb": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}


def at(count: int, folder: Path) -> dict[str, object]:
    source, gathered, curated = folder / "rows.jsonl", folder / "data", folder / "curated"
    with source.open("w") as file:
        file.writelines(rows(count))
    found = {
        "rows": count,
        "gather": measured("gather", f"messages={source}", "--out", gathered),
        "curate": measured("curate", gathered, "--out", curated),
    }
    near = json.loads((gathered / "gather.json").read_text())["near_duplicates"]["removed"]
    with (curated / "responses.jsonl").open() as lines:
        return {**found, "near_duplicates": near, "kept": sum(1 for _ in lines)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="+")
    options = parser.parse_args()
    for count in options.rows:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(at(count, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
