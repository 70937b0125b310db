"""The page on real servers whose models take their time: `python -m tests.demo.slow_page VOTES`.

Prints the addresses of the page and the servers as one JSON object. Each model says one letter
each 50 ms, for longer than a test lasts, so there is always something to stop.
"""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path

import uvicorn

from demo.ballot import Candidate
from demo.page import Opened, page
from demo.web import application, listener, serve
from distill.core.serving import Served
from runtime.engine import Engine
from runtime.guard import Guard
from runtime.limits import Limits
from runtime.server import application as runtime_application
from tests.runtime.scripted import ScriptedBackend

PACE_S = 0.05
SPOKEN = {"calm": b"I hear you. ", "brisk": b"That is hard. "}


def slow_server(name: str) -> str:
    """The address of a runtime whose model chooses its next letter after a while."""
    gate = threading.Semaphore(0)
    backend = ScriptedBackend(SPOKEN[name] * 400, gate=gate, context=8000, chunk=512)
    app = runtime_application(
        Engine(name, backend), host="127.0.0.1", guard=Guard(), limits=Limits()
    )
    listening = listener(0)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error"))

    def pace() -> None:
        while backend.choosing.acquire():
            time.sleep(PACE_S)
            gate.release()

    def answer() -> None:
        asyncio.run(server.serve(sockets=[listening]))

    for work in (pace, answer):
        threading.Thread(target=work, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def main(votes: Path) -> None:
    urls = {name: slow_server(name) for name in SPOKEN}
    opened = [
        Opened(Path(f"{name}.gguf"), Candidate(name, name[0] * 64), Served(url, name, 0))
        for name, url in urls.items()
    ]
    blocks, own = page(opened, votes), listener(0)
    address = f"http://127.0.0.1:{own.getsockname()[1]}"

    def ready() -> None:
        print(json.dumps({"url": address, "servers": list(urls.values())}), flush=True)

    serve(application(blocks), own, ready)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
