"""An OpenAI-compatible endpoint on loopback, for tests: a function answers, a list remembers."""

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Script = Callable[[str], str]


class StubEndpoint:
    """Answers chat completions by `script`, a function of the last message's text.

    `status` maps the number of a call (from 1) to the HTTP status with which it is answered.
    """

    def __init__(
        self,
        script: Script,
        *,
        status: Callable[[int], int] = lambda call: 200,
        finish_reason: str = "stop",
        version: str = "stub-1",
        key: str | None = None,
    ) -> None:
        self.script, self.status, self.finish_reason = script, status, finish_reason
        self.version, self.key = version, key
        self.requests: list[dict] = []
        self.lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            endpoint = self

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.endpoint.serve(self, body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Tests read what was asked from `requests`."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"

    def serve(self, handler: BaseHTTPRequestHandler, body: dict) -> None:
        with self.lock:
            self.requests.append(body)
            number = len(self.requests)
        status = self.status(number)
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            status = 401
        if status != 200:
            error = {"message": f"scripted status {status}", "type": "stub"}
            send(handler, status, "application/json", json.dumps({"error": error}))
            return
        text = self.script(body["messages"][-1]["content"])
        if body.get("stream"):
            send(handler, 200, "text/event-stream", self.events(text))
        else:
            send(handler, 200, "application/json", json.dumps(self.completion(text)))

    def completion(self, text: str) -> dict:
        choice = {
            "index": 0,
            "finish_reason": self.finish_reason,
            "message": {"role": "assistant", "content": text},
        }
        return {**self.head("chat.completion"), "choices": [choice], "usage": usage(text)}

    def events(self, text: str) -> str:
        head = self.head("chat.completion.chunk")
        deltas = [
            {"index": 0, "delta": {"content": piece}} for piece in re.findall(r"\S+\s*", text)
        ]
        last = {"index": 0, "delta": {}, "finish_reason": self.finish_reason}
        chunks = [{**head, "choices": [choice]} for choice in [*deltas, last]]
        chunks.append({**head, "choices": [], "usage": usage(text)})
        lines = [json.dumps(chunk) for chunk in chunks]
        return "".join(f"data: {line}\n\n" for line in [*lines, "[DONE]"])

    def head(self, kind: str) -> dict:
        return {"id": "stub", "object": kind, "created": 0, "model": self.version}

    def __enter__(self) -> "StubEndpoint":
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def usage(text: str) -> dict:
    tokens = len(text.split())
    return {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}


def send(handler: BaseHTTPRequestHandler, status: int, kind: str, text: str) -> None:
    data = text.encode()
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)
