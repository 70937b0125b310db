"""A real server in a subprocess, and a hand-driven ASGI exchange."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in ("KINDRED_API_KEY", "LLAMA_API_KEY")}


class Serving:
    """`distill runtime serve FILE --port 0 --json ...` until the block ends."""

    def __init__(self, file: Path, log: Path, *words: str) -> None:
        self.log = log
        line = [sys.executable, "-m", "distill", "runtime", "serve", str(file), "--port", "0"]
        with log.open("w") as remarks:
            self.process = subprocess.Popen(
                [*line, "--json", "--threads", "1", *words],
                stdout=subprocess.PIPE,
                stderr=remarks,
                text=True,
                env=ENVIRONMENT,
            )
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        assert first, log.read_text()
        self.ready = json.loads(first)
        self.url = self.ready["url"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code after a signal; the rest of standard output must be empty."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=20)
        assert out == ""
        return self.process.returncode

    def __enter__(self) -> "Serving":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.stop() == 0, self.log.read_text()

    def post(self, body: Any, **options: Any) -> httpx.Response:
        headers = {"content-type": "application/json"} | options.pop("headers", {})
        content = json.dumps(body).encode()
        url = f"{self.url}/chat/completions"
        return httpx.post(url, content=content, headers=headers, timeout=60, **options)


class Exchange:
    """One request to an ASGI application, with a connection that the test may drop."""

    def __init__(self, app: Any, body: Any, path: str = "/v1/chat/completions") -> None:
        self.app, self.body, self.path = app, json.dumps(body).encode(), path
        self.sent: list[dict[str, Any]] = []
        self.events = asyncio.Queue[bytes]()
        self._gone = asyncio.Event()
        self._asked = False
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> None:
        headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "headers": headers,
            "scheme": "http",
        }
        await self.app(scope, self._receive, self._send)

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message["type"] == "http.response.body":
            self.events.put_nowait(message["body"])

    async def leave(self) -> None:
        """Drop the connection, and wait until the application has noticed."""
        self._gone.set()
        await self.task

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.sent[0]["headers"])

    def content(self) -> bytes:
        return b"".join(m["body"] for m in self.sent if m["type"] == "http.response.body")
