"""Start `asking_run`, kill it with SIGKILL after some of its calls, and look at what is left."""

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from distill.core.asking import Terms, plan
from distill.core.chat.table import open_chat
from distill.core.ledger import Ledger
from distill.dev.fake_openai import FakeOpenAI
from tests.distill.core.asks import ROOM, asks

ROOT = Path(__file__).parents[3]


@dataclass
class Killing:
    """One run of COUNT questions against a service, started as often as it takes."""

    server: FakeOpenAI
    ledger: Path
    count: int
    concurrency: int = 8
    shown: list[str] = field(default_factory=list)

    def command(self) -> list[str]:
        words = [self.server.base_url, str(self.ledger), str(self.count), str(self.concurrency)]
        return [sys.executable, "-m", "tests.distill.core.asking_run", *words]

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self.command(), stdout=subprocess.PIPE, text=True, cwd=ROOT)

    def kill_after(self, calls: int, more_s: float = 0.0) -> bool:
        """Kill `more_s` after the service has answered so many calls of this start.

        Whether the run was still going.
        """
        aim = self.server.counts()["answered"] + calls
        run = self.start()
        assert run.stdout is not None
        with run.stdout:
            while self.server.counts()["answered"] < aim and run.stdout.readline():
                continue
            try:
                run.wait(more_s)
            except subprocess.TimeoutExpired:
                run.kill()
            return run.wait() != 0

    def finish(self) -> dict[str, str]:
        """Run to the end; the answers by id, as the last start printed them."""
        done = subprocess.run(self.command(), capture_output=True, text=True, cwd=ROOT, check=True)
        rows = [json.loads(line) for line in done.stdout.splitlines()[1:]]
        assert max(Counter(row["id"] for row in rows).values()) == 1
        return {row["id"]: row["text"] for row in rows}

    def missing(self) -> int:
        chat = open_chat("openai:gpt-4o", base_urls=[self.server.base_url])
        with Ledger(self.ledger) as opened:
            return plan(asks(self.count, ROOM), chat, opened, Terms()).calls
