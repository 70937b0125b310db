"""Peak memory of our server against llama-cpp-python's, on the same file and context.

    python -m tests.benchmarks.runtime_memory FILE [--context N] [--port N]

Each server is a process of its own that answers three chats, the last of which fills most of the
context; the table holds the peak resident size (VmHWM of /proc) once they were answered.
"""

from pathlib import Path

import httpx
import typer
from rich.console import Console
from rich.table import Table

from distill.core.machine import physical_cores
from tests.benchmarks.peer_server import peer
from tests.runtime.serving import Serving

SENTENCE = "My sister has not called since we argued about the house, and I keep thinking of it. "


def peak_mib(process: int) -> float:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def chats(url: str, model: str, context: int) -> None:
    """Three chats; a token is rarely shorter than three characters."""
    for share in (0.1, 0.3, 0.6):
        text = SENTENCE * max(1, int(context * share * 3 / len(SENTENCE)))
        body = {
            "model": model,
            "messages": [{"role": "user", "content": text}],
            "max_tokens": 64,
            "temperature": 0.7,
        }
        answer = httpx.post(f"{url}/chat/completions", json=body, timeout=600)
        answer.raise_for_status()


def main(file: Path, context: int = 2048, port: int = 8765) -> None:
    log = Path(f"{file}.serve.log")
    with Serving(file, log, "--context", str(context)) as server:
        chats(server.url, server.ready["model"], context)
        ours = peak_mib(server.process.pid)
    log.unlink()
    with peer(file, port=port, context=context, threads=physical_cores()) as process:
        chats(f"http://127.0.0.1:{port}/v1", str(file), context)
        theirs = peak_mib(process.pid)
    shown = Table("peak, MiB", "ours", "llama_cpp.server", "ratio")
    shown.add_row(file.name, f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}")
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
