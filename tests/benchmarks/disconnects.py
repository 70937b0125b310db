"""Readers that leave a real server, half of them while their prompt is still evaluated.

    python -m tests.benchmarks.disconnects FILE [--count 200] [--json]

One slot and no queue, so that a place is free only when the reply before it has really ended. Each
round asks with a prompt that fills most of the context, leaves (before the first token in every
other round, after it in the rest), and then asks for one token until the answer is no longer 429.
Printed: the longest wait for the place, and resident memory at the end against that after a tenth
of the rounds. Aims: 1 s, 2 %, no failure.
"""

import json as json_format
import secrets
import socket
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from tests.runtime.serving import Serving

WORD = "morning "


def long_body(model: str, words: int) -> bytes:
    """A prompt that no cache has seen."""
    text = f"{secrets.token_hex(8)} {WORD * words}"
    body = {"model": model, "messages": [{"role": "user", "content": text}], "stream": True}
    return json_format.dumps(body).encode()


def ask(port: int, body: bytes) -> socket.socket:
    """Send a request by hand: a connection that can be dropped at any moment."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


def leave(connection: socket.socket, after_first_token: bool) -> None:
    """Drop the connection; the role event alone says that the prompt was accepted."""
    seen = b""
    wanted = b'"content":"' if after_first_token else b'"role"'
    while seen.count(wanted) < (2 if after_first_token else 1) and b"[DONE]" not in seen:
        part = connection.recv(65536)
        if not part:
            break
        seen += part
    connection.close()
    assert seen.startswith(b"HTTP/1.1 200"), seen[:300]


def words_that_fill(client: httpx.Client, model: str, tokens: int) -> int:
    """How many words make a prompt of about so many tokens."""

    def cost(words: int) -> int:
        body = json_format.loads(long_body(model, words)) | {"max_tokens": 1, "stream": False}
        return int(client.post("/chat/completions", json=body).json()["usage"]["prompt_tokens"])

    return int((tokens - cost(0)) / ((cost(40) - cost(0)) / 40))


def wait_for_place(client: httpx.Client, model: str) -> tuple[float, int]:
    """Seconds until a short request is answered, and its status."""
    started = time.perf_counter()
    small = {"model": model, "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    while (status := client.post("/chat/completions", json=small).status_code) == 429:
        if time.perf_counter() - started > 30:
            break
    return time.perf_counter() - started, status


def main(
    file: Annotated[Path, typer.Argument(help="A GGUF file.")],
    count: Annotated[int, typer.Option(help="How many readers leave.")] = 200,
    context: Annotated[int, typer.Option(help="Tokens that a chat may hold.")] = 1024,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Leave a server many times."""
    waits: list[float] = []
    failures: list[Any] = []
    memory: list[int] = []
    words = ["--queue", "0", "--parallel", "1", "--context", str(context)]
    with tempfile.TemporaryDirectory() as folder:
        with Serving(file, Path(folder) / "log", *words) as server:
            process = psutil.Process(server.ready["pid"])
            port = int(server.url.split(":")[2].removesuffix("/v1"))
            model = server.ready["model"]
            with httpx.Client(base_url=server.url, timeout=60) as client:
                words_most = words_that_fill(client, model, context * 3 // 4)
                for number in range(count):
                    body = long_body(model, words_most)
                    leave(ask(port, body), after_first_token=bool(number % 2))
                    took_s, status = wait_for_place(client, model)
                    waits.append(took_s)
                    memory.append(process.memory_info().rss)
                    if status != 200:
                        failures.append([number, status])
        log = (Path(folder) / "log").read_text().splitlines()[1:]
    early = memory[len(memory) // 10]
    found = {
        "readers": count,
        "failures": failures,
        "log": log[:5],
        "longest_wait_s": round(max(waits), 3),
        "median_wait_s": round(sorted(waits)[len(waits) // 2], 3),
        "memory_mb": round(memory[-1] / 2**20, 1),
        "memory_grown": round(memory[-1] / early - 1, 4),
    }
    typer.echo(json_format.dumps(found, indent=None if json else 1))


if __name__ == "__main__":
    typer.run(main)
