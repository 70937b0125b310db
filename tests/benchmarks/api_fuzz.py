"""Whatever is sent to the server, valid by its own schema or not, or no HTTP at all.

    python -m tests.benchmarks.api_fuzz FILE [--requests 10000] [--raw 500] [--json]

schemathesis draws requests from `/openapi.json`, half of them valid and half broken on purpose;
sockets send what is no HTTP. Aims: no 5xx, no answer that is not of the documented shape, no
crash, memory flat.
"""

import json as json_format
import random
import socket
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from tests.runtime.serving import Serving

HELLO = b'{"model": "x", "messages": [{"role": "user", "content": "hi"}]}'
START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\n"
JSON = b"Content-Type: application/json\r\n"
MALFORMED = [
    b"\r\n\r\n",
    b"\x00" * 64,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 9000 + b"\r\n",
    b"GET /%ff%fe%00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"GET http://other.example/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: -1\r\n\r\n",
    b"\xff\xfe /v1/models HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"CONNECT x:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    START + JSON + b"Content-Length: 99999999999999999999\r\n\r\n{",
    START + JSON + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n" + HELLO,
    START + JSON + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    START + JSON + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\r\n0\r\n\r\n",
    START + JSON + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    START + JSON + b"Content-Length: 3\r\n\r\n" + HELLO,
    START + JSON + b"Content-Length: 500\r\n\r\n" + HELLO,
    START + b"Content-Type: \xff\r\nContent-Length: 2\r\n\r\n{}",
    START + JSON + b"Authorization: Bearer \xff\xfe\r\nContent-Length: 2\r\n\r\n{}",
    START + JSON + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    START + JSON + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    START + b"Upgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n",
]


def mutated(draw: random.Random) -> bytes:
    """One of the above, or a sound request with some bytes changed."""
    if draw.random() < 0.5:
        return draw.choice(MALFORMED)
    sound = bytearray(START + JSON + b"Content-Length: %d\r\n\r\n" % len(HELLO) + HELLO)
    for _ in range(draw.randint(1, 6)):
        place = draw.randrange(len(sound))
        sound[place : place + draw.randrange(2)] = draw.randbytes(draw.randrange(3))
    return bytes(sound)


def answer_to(port: int, data: bytes) -> bytes:
    """The first line of what comes back; empty when the server hangs up or waits for more."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.settimeout(0.3)
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return connection.recv(4096).split(b"\r\n")[0]
        except OSError:
            return b""


def raw(url: str, count: int, seed: int) -> Counter[str]:
    """Statuses of answers to what is no HTTP, or hardly."""
    port, draw = int(url.split(":")[2].split("/")[0]), random.Random(seed)
    lines = [answer_to(port, mutated(draw)) for _ in range(count)]
    return Counter(line.decode("latin-1")[:12] or "no answer" for line in lines)


def drawn(url: str, count: int, seed: int) -> dict[str, Any]:
    """Statuses of answers to drawn requests, and the requests whose answers break the contract."""
    import hypothesis
    import schemathesis
    from schemathesis.generation import GenerationMode

    config = schemathesis.Config()
    config.projects.default.generation.modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    schema = schemathesis.openapi.from_url(f"{url.removesuffix('/v1')}/openapi.json", config=config)
    operations = [found.ok() for found in schema.get_all_operations()]
    weights = [8 if operation.method.upper() == "POST" else 1 for operation in operations]
    statuses: Counter[int] = Counter()
    broken: list[str] = []
    client = httpx.Client(base_url=url.removesuffix("/v1"), timeout=60)

    def send(case: Any) -> None:
        call = case.as_transport_kwargs(base_url=url.removesuffix("/v1"))
        body = {"json": call["json"]} if "json" in call else {"content": call.get("data") or b""}
        if "json" in call:
            call["json"] = bounded(call["json"])
            text = json_format.dumps(call["json"]).encode()
            body = {"content": text}
            call["headers"]["Content-Type"] = "application/json"
        answer = client.request(call["method"], call["url"], headers=plain(call["headers"]), **body)
        statuses[answer.status_code] += 1
        if wrong(answer):
            broken.append(f"{answer.status_code} {call['method']} {call['url']} {body}"[:500])

    for operation, weight in zip(operations, weights, strict=True):
        share = max(1, count * weight // sum(weights))
        settings = hypothesis.settings(
            max_examples=share,
            deadline=None,
            database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.generate],
        )
        test = settings(hypothesis.given(case=operation.as_strategy())(send))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            hypothesis.seed(seed)(test)()
    client.close()
    return {"statuses": dict(sorted(statuses.items())), "broken": broken}


def bounded(body: Any) -> Any:
    """The same request, with a reply short enough that thousands of them end today."""
    if isinstance(body, dict):
        for name in ("max_tokens", "max_completion_tokens", "max_output_tokens"):
            if isinstance(body.get(name), int) and body[name] > 3:
                body[name] = 3
        if "messages" in body:
            body.setdefault("max_tokens", 2)
        elif "input" in body:
            body.setdefault("max_output_tokens", 2)
    return body


def plain(headers: Any) -> dict[str, str]:
    """Headers that a client can send at all."""
    return {
        k: v
        for k, v in dict(headers).items()
        if k.isascii() and str(v).isascii() and str(v).isprintable()
    }


def wrong(answer: httpx.Response) -> bool:
    """True for a 5xx, and for a refusal that is not in OpenAI's shape."""
    if answer.status_code >= 500:
        return True
    if answer.status_code < 400:
        return False
    try:
        return set(answer.json()["error"]) != {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        return True


def main(
    file: Annotated[Path, typer.Argument(help="A GGUF file.")],
    requests: Annotated[int, typer.Option(help="Drawn requests.")] = 10_000,
    raw_requests: Annotated[int, typer.Option("--raw", help="Malformed ones.")] = 500,
    seed: Annotated[int, typer.Option(help="Which ones.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Send nonsense to a server."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, Serving(file, Path(folder) / "log") as server:
        process = psutil.Process(server.ready["pid"])
        drawn(server.url, max(1, requests // 10), seed + 1)
        early = process.memory_info().rss
        found = drawn(server.url, requests, seed)
        malformed = raw(server.url, raw_requests, seed)
        late = process.memory_info().rss
        alive = httpx.get(f"{server.url}/models").status_code == 200
    found |= {
        "raw": dict(malformed),
        "alive": alive,
        "memory_mb": [round(early / 2**20, 1), round(late / 2**20, 1)],
        "seconds": round(time.perf_counter() - started, 1),
    }
    typer.echo(json_format.dumps(found, indent=None if json else 1))


if __name__ == "__main__":
    typer.run(main)
