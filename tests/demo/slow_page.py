"""The page on a real server whose model takes its time: `python -m tests.demo.slow_page`.

Prints the addresses of the page and the server as one JSON object. The model says one letter each
20 ms, for longer than a test lasts, so there is always something to stop.
"""

import asyncio
import json
import threading
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

PACE_S = 0.02
WORDS = b"I hear you. " * 400


def main() -> None:
    gate = threading.Semaphore(0)
    engine = Engine("slow", ScriptedBackend(WORDS, gate=gate, context=8000, chunk=512))
    app = runtime_application(engine, host="127.0.0.1", guard=Guard(), limits=Limits())
    listening = listener(0)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, log_level="error"))
    server.install_signal_handlers = lambda: None
    ended = threading.Event()

    def pace() -> None:
        while not ended.wait(PACE_S):
            gate.release()

    threads = [
        threading.Thread(target=pace, daemon=True),
        threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listening])), daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    opened = Opened(Path("slow.gguf"), Candidate("slow", "0" * 64), Served(url, "slow", 0))
    own = listener(0)
    address = f"http://127.0.0.1:{own.getsockname()[1]}"
    blocks = page([opened], Path("votes"))

    def ready() -> None:
        print(json.dumps({"url": address, "server": url}), flush=True)

    serve(application(blocks), own, ready)
    ended.set()


if __name__ == "__main__":
    main()
