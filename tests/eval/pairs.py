"""Small dialogues and answers, judge scripts and the command line, for the tests beside this."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def distill(*words: object, **environment: str) -> subprocess.CompletedProcess:
    """Run the real command line, with nothing of this machine's keys in its environment."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OPENAI_")}
    return subprocess.run(
        [sys.executable, "-m", "distill", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean, **environment},
        check=False,
    )


def error_line(done: subprocess.CompletedProcess) -> str:
    """The one line of a refusal."""
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("note: ")]
    assert len(lines) == 1 and lines[0].startswith("error: "), done.stderr
    return lines[0]


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def write_lines(path: Path, values: list[dict]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), "utf-8")
    return path


def write_dialogues(path: Path, count: int = 4) -> Path:
    turns = [[{"role": "user", "content": f"My dog number {n} ran away."}] for n in range(count)]
    return write_lines(
        path,
        [
            {"id": f"d{n}", "source": "test", "turns": turn, "split": "test"}
            for n, turn in enumerate(turns)
        ],
    )


def write_answers(path: Path, candidate: str, texts: list[str]) -> Path:
    common = {"first_token_s": 0.1, "tokens_per_s": 9.0, "tokens": 5, "finish_reason": "stop"}
    return write_lines(
        path,
        [
            {"dialogue_id": f"d{n}", "candidate": candidate, "text": text, **common}
            | {"artifact_sha256": candidate}
            for n, text in enumerate(texts)
        ],
    )


def verdict(prompt: str, side: str) -> str:
    """What a judge says that follows the rubric's form."""
    code = re.search(r"^CODE: (\w+)$", prompt, re.MULTILINE)[1]
    return f"It takes up what was said.\n\nVerdict {code}: {side}"


def part(prompt: str, tag: str) -> str:
    """What stands between a tag's ends in a judge's prompt."""
    return re.search(rf"<{tag}-(\w+)>\n(.*?)\n</{tag}-\1>", prompt, re.DOTALL)[2]


def prefers_dogs(prompt: str) -> str:
    """A fair judge: the reply that names the dog wins; both or neither is a tie."""
    first, second = ("dog" in part(prompt, side) for side in ("first", "second"))
    side = "tie" if first == second else "first" if first else "second"
    return verdict(prompt, side)


def always_first(prompt: str) -> str:
    return verdict(prompt, "first")
