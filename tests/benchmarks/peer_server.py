"""llama-cpp-python's own server, as the others measure themselves against it.

In: a file, a port, a context. Out: its process, once it answers; it ends with the block.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx


@contextmanager
def peer(file: Path, *, port: int, context: int, threads: int) -> Iterator[subprocess.Popen[bytes]]:
    line = [sys.executable, "-m", "llama_cpp.server", "--model", str(file), "--port", str(port)]
    sizes = ["--n_ctx", str(context), "--n_threads", str(threads)]
    line += [*sizes, "--n_threads_batch", str(threads), "--host", "127.0.0.1"]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(line, stdout=nowhere, stderr=nowhere) as process:
        try:
            wait(process, f"http://127.0.0.1:{port}/v1/models")
            yield process
        finally:
            process.terminate()


def wait(process: subprocess.Popen[bytes], url: str) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), timeout=60) as client:
        while process.poll() is None:
            try:
                client.get(url).raise_for_status()
                return
            except httpx.ConnectError:
                continue
    raise RuntimeError(f"llama_cpp.server ended with code {process.returncode}")
