"""The runtime as a child process: started for a file, ended with the page.

In: an exported file. Out: a base URL and a model name. Refused: a file that the runtime refuses
(Unavailable, with the runtime's own last line).
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from distill.core.errors import Unavailable


@dataclass(frozen=True)
class Served:
    url: str
    model: str


@contextmanager
def served(artifact: Path) -> Iterator[Served]:
    """Serve `artifact` on a free loopback port for as long as the block runs."""
    argv = [sys.executable, "-m", "runtime", "serve", str(artifact), "--port", "0", "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            found = json.loads(line) if line.strip() else {}
            if "url" not in found:
                raise Unavailable(found.get("error", f"the runtime did not start for {artifact}"))
            yield Served(found["url"], found["model"])
        finally:
            process.terminate()
            process.wait(timeout=10)
