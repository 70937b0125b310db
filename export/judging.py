"""Whether a judge finds a candidate worse than the F16 file, through `distill eval`.

In: two files, a judge, dialogues. Out: the win rate and what speaks against the candidate. The
packages meet on disk: `eval` runs in processes of its own. Refused: what it refuses (Unavailable).
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from distill.core.errors import Unavailable

FAIR = 0.5


class Bout:
    """Candidates against one F16 file, whose answers are written once."""

    def __init__(self, judge: str, dialogues: Path, folder: Path) -> None:
        self.judge, self.dialogues, self.folder = judge, dialogues, folder

    def against(self, plain: Path, candidate: Path, name: str) -> dict[str, Any]:
        """The candidate loses when even the upper end of its interval is below one half."""
        answers = self.folder / "F16.answers.jsonl"
        if not answers.exists():
            self.answer(plain, answers, "F16")
        own = self.folder / f"{name}.answers.jsonl"
        self.answer(candidate, own, name)
        out = self.folder / f"{name}.judged"
        self.run("winrate", own, answers, "--out", out, "--judge", self.judge)
        result = json.loads((out / "winrate.json").read_text())
        against = []
        if (interval := result["interval"]) and interval[1] < FAIR:
            against.append(f"the judge prefers F16 (win rate {result['win_rate']:.0%})")
        return {"win_rate": result["win_rate"], "against": against}

    def answer(self, file: Path, out: Path, name: str) -> None:
        """Under a name that says GGUF: `eval` serves the file by it."""
        served = file.with_name(f"{name}.served.gguf")
        served.hardlink_to(file)
        try:
            self.run("answer", served, "--out", out, "--name", name)
        finally:
            served.unlink()

    def run(self, *words: object) -> None:
        line = [sys.executable, "-m", "distill", "eval", *map(str, words)]
        done = subprocess.run(
            [*line, "--dialogues", str(self.dialogues)], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = done.stderr.strip().splitlines() or ["it said nothing"]
            raise Unavailable(f"distill eval {words[0]} could not judge: {said[-1]}")
