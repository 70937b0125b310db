"""Readers that leave, queues that are full: the application driven by hand, token by token."""

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx
import pytest

from runtime.engine import Engine
from runtime.guard import Guard
from runtime.limits import Limits
from runtime.server import application
from tests.runtime.scripted import ScriptedBackend
from tests.runtime.serving import Exchange, Serving

SECRET = "my sister does not speak to me"
TURNS = 20  # of the event loop, until a watcher has seen that a reader left
BODY = {"model": "scripted", "messages": [{"role": "user", "content": SECRET}]}


class Bench:
    """An application whose model chooses one token per permit."""

    def __init__(self, script: bytes = b"abcdefgh", queue: int = 0, **limits) -> None:
        self.gate = threading.Semaphore(0)
        self.backend = ScriptedBackend(script, gate=self.gate)
        self.engine = Engine("scripted", self.backend)
        self.app = application(
            self.engine, host="127.0.0.1", guard=Guard(), limits=Limits(queue=queue, **limits)
        )
        self._waiting = ThreadPoolExecutor(1)

    def ask(self, **options) -> Exchange:
        return Exchange(self.app, BODY | options)

    async def choosing(self) -> None:
        """Wait until the model is about to choose a token."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._waiting, self.backend.choosing.acquire)


@asynccontextmanager
async def bench(**options):
    made = Bench(**options)
    try:
        yield made
    finally:
        made.app.stop()
        made.gate.release(1000)
        made.engine.close()


def run(test):
    asyncio.run(asyncio.wait_for(test(), 20))


@pytest.mark.parametrize("stream", [True, False])
def test_no_token_follows_the_one_that_was_computed_when_the_reader_left(stream):
    async def test():
        async with bench() as b:
            exchange = b.ask(stream=stream)
            await b.choosing()
            b.gate.release()
            await b.choosing()
            leaving = asyncio.create_task(exchange.leave())
            for _ in range(TURNS):
                await asyncio.sleep(0)
            b.gate.release(100)
            await leaving
            after = b.ask(max_tokens=1)
            await after.task
            assert after.status == 200
            assert b.backend.chosen <= 2 + 1 + 1

    run(test)


def test_a_place_is_free_as_soon_as_its_reader_has_left():
    async def test():
        async with bench() as b:
            exchange = b.ask(stream=True)
            await b.choosing()
            await exchange.leave()
            after = b.ask(max_tokens=1)
            b.gate.release(2)
            await after.task
            assert after.status == 200

    run(test)


def test_a_reader_who_leaves_the_queue_costs_no_token():
    async def test():
        async with bench(queue=1) as b:
            first = b.ask(max_tokens=2)
            await b.choosing()
            waiting = b.ask(stream=True)
            assert b'"role"' in await waiting.events.get()
            await waiting.leave()
            b.gate.release(100)
            await first.task
            last = b.ask(max_tokens=1)
            await last.task
            assert (first.status, last.status, b.backend.chosen) == (200, 200, 3)

    run(test)


def test_a_full_queue_says_when_to_come_again():
    async def test():
        async with bench(queue=1) as b:
            running, waiting = b.ask(stream=True), b.ask(stream=True)
            await running.events.get()
            await waiting.events.get()
            turned_away = b.ask()
            await turned_away.task
            assert turned_away.status == 429
            assert int(turned_away.headers[b"retry-after"]) >= 1
            error = json.loads(turned_away.content())["error"]
            assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
            b.gate.release(100)
            await asyncio.gather(running.task, waiting.task)
            for exchange in (running, waiting):
                assert exchange.content().endswith(b"data: [DONE]\n\n")

    run(test)


@pytest.mark.parametrize("stream", [True, False])
def test_a_stopping_server_ends_replies_with_an_error(stream):
    async def test():
        async with bench() as b:
            exchange = b.ask(stream=stream)
            await b.choosing()
            b.app.stop()
            b.gate.release(100)
            await exchange.task
            last = exchange.content().split(b"data: ")[-1]
            assert json.loads(last)["error"]["code"] == "stopping"
            assert exchange.status == (200 if stream else 503)
            assert b.backend.chosen == 1

    run(test)


@pytest.mark.parametrize("stream", [True, False])
def test_a_mistake_of_ours_is_a_500_that_tells_no_words_of_the_chat(stream, capfd):
    async def test():
        async with bench() as b:
            b.backend.fails = True
            exchange = b.ask(stream=stream)
            await exchange.task
            last = exchange.content().split(b"data: ")[-1]
            assert json.loads(last)["error"]["type"] == "server_error"
            assert exchange.status == (200 if stream else 500)
            b.backend.fails = False
            b.gate.release(100)
            after = b.ask(max_tokens=1)
            await after.task
            assert after.status == 200

    run(test)
    out, err = capfd.readouterr()
    assert "RuntimeError at scripted.py:" in err
    assert SECRET not in out + err


def test_a_dropped_connection_frees_a_real_server(tiny_gguf, tmp_path):
    body = {"model": "tiny-F16", "messages": BODY["messages"], "stream": True, "seed": 1}
    with Serving(tiny_gguf, tmp_path / "log", "--queue", "0", "--api-key", "k3y") as server:
        headers = {"Authorization": "Bearer k3y", "content-type": "application/json"}
        url = f"{server.url}/chat/completions"
        for _ in range(5):
            with httpx.stream("POST", url, json=body, headers=headers, timeout=20) as answer:
                assert answer.status_code == 200
                next(answer.iter_raw())
            # One connection after another: the server may need a moment to see that one is gone.
            retries = httpx.HTTPTransport(retries=0)
            with httpx.Client(transport=retries, headers=headers, timeout=20) as client:
                small = body | {"max_tokens": 1}
                while (status := client.post(url, json=small).status_code) == 429:
                    continue
                assert status == 200
        wrong = httpx.get(f"{server.url}/models", headers={"Authorization": "Bearer other"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (401, "invalid_api_key")
        assert httpx.get(f"{server.url}/models").status_code == 401
        assert httpx.get(server.url.removesuffix("/v1") + "/health").status_code == 200
    assert SECRET not in (tmp_path / "log").read_text()
