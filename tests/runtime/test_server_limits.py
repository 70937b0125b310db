"""Limits, origins, metrics, logs and the end of a server."""

import asyncio
import json
import signal
import threading

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from distill.core.errors import BadInput
from runtime.logs import route_of
from runtime.serve import origins_of
from tests.runtime.serving import Serving
from tests.runtime.test_disconnect import BODY, SECRET, bench, run

HELLO = [{"role": "user", "content": "hi"}]
PAGE = "http://localhost:3000"


def figures(text):
    """Every sample of `/metrics`: name and labels to value."""
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_messages_and_tokens_beyond_the_limit_are_named(tiny_gguf, tmp_path):
    words = ("--max-messages", "3", "--max-tokens", "5", "--max-body", "3000")
    with Serving(tiny_gguf, tmp_path / "log", *words) as server:
        many = server.post({"model": "tiny-F16", "messages": HELLO * 4}).json()["error"]
        assert (many["param"], many["code"]) == ("messages", "too_many_messages")
        long = server.post({"model": "tiny-F16", "messages": HELLO, "max_tokens": 6})
        assert long.json()["error"]["param"] == "max_tokens" and long.status_code == 400
        open_ended = server.post(
            {"model": "tiny-F16", "messages": HELLO, "seed": 1, "temperature": 2, "min_p": 0}
        ).json()
        assert open_ended["usage"]["completion_tokens"] <= 5


async def passed(seconds):
    """Wait until a clock outside of the event loop has gone on."""
    late = threading.Event()
    threading.Timer(seconds, late.set).start()
    await asyncio.to_thread(late.wait)


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_that_takes_too_long_is_cut_and_says_so(stream):
    async def test():
        async with bench(reply_s=0.2) as b:
            exchange = b.ask(stream=stream)
            await b.choosing()
            b.gate.release()
            await b.choosing()
            await passed(0.6)
            b.gate.release(100)
            await exchange.task
            assert exchange.status == 200
            if stream:
                chunks = exchange.content().split(b"\n\n")
                assert chunks[-2] == b"data: [DONE]"
                last = json.loads(chunks[-3].removeprefix(b"data: "))["choices"][0]
            else:
                last = json.loads(exchange.content())["choices"][0]
            assert last["finish_reason"] == "length"

    run(test)


def test_a_reply_that_never_began_in_time_is_an_error():
    async def test():
        async with bench(reply_s=0.1, queue=1) as b:
            running = b.ask()
            await b.choosing()
            exchange = b.ask()
            await passed(0.6)
            b.gate.release(100)
            await asyncio.gather(running.task, exchange.task)
            error = json.loads(exchange.content())["error"]
            assert (exchange.status, error["code"]) == (503, "time_limit")
            assert exchange.headers[b"retry-after"]

    run(test)


def test_a_body_that_does_not_come_is_not_waited_for():
    async def test():
        async with bench(body_s=0.05) as b:
            exchange = b.ask()
            exchange._asked = True  # the body never arrives
            await exchange.task
            assert exchange.status == 408
            assert "did not arrive" in json.loads(exchange.content())["error"]["message"]

    run(test)


def test_only_pages_on_the_list_may_ask(tiny_gguf, tmp_path):
    words = ("--allow-origin", PAGE, "--api-key", "k3y")
    preflight = {"Access-Control-Request-Method": "POST"}
    with Serving(tiny_gguf, tmp_path / "log", *words) as server:
        url = f"{server.url}/chat/completions"
        allowed = httpx.options(
            url,
            headers={
                "Origin": PAGE,
                "Access-Control-Request-Headers": "authorization,content-type",
                **preflight,
            },
        )
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-credentials" not in allowed.headers
        other = httpx.options(url, headers={"Origin": "http://evil.example", **preflight})
        assert (other.status_code, other.json()["error"]["code"]) == (403, "origin_not_allowed")
        key = {"Authorization": "Bearer k3y"}
        read = httpx.get(f"{server.url}/models", headers={"Origin": PAGE, **key})
        assert read.headers["access-control-allow-origin"] == PAGE
        stranger = httpx.get(f"{server.url}/models", headers={"Origin": "http://e.example", **key})
        assert "access-control-allow-origin" not in stranger.headers
        assert httpx.get(f"{server.url}/models", headers={"Origin": PAGE}).status_code == 401


@pytest.mark.parametrize("origin", ["*", "localhost:3000", "ftp://x", "http://", "http://a/b"])
def test_what_is_no_origin_is_refused(origin):
    with pytest.raises(BadInput, match="is no origin; give one like"):
        origins_of([origin])


def test_metrics_count_what_was_answered(tiny_gguf, tmp_path):
    with Serving(tiny_gguf, tmp_path / "log") as server:
        root = server.url.removesuffix("/v1")
        before = figures(httpx.get(f"{root}/metrics").text)
        made = [
            server.post({"model": "tiny-F16", "messages": HELLO, "max_tokens": 4, "seed": n}).json()
            for n in (1, 2)
        ]
        server.post({"model": "other", "messages": HELLO})
        answer = httpx.get(f"{root}/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = figures(answer.text)
    reply = sum(each["usage"]["completion_tokens"] for each in made)
    assert found["kindred_tokens_total", "reply"] == reply
    assert found["kindred_tokens_total", "prompt"] == 2 * made[0]["usage"]["prompt_tokens"]
    assert found["kindred_tokens_total", "cached"] > 0
    assert found["kindred_first_token_seconds_count",] == 2
    assert found["kindred_between_tokens_seconds_count",] > 0
    assert found["kindred_requests_total", "/v1/chat/completions", "200"] == 2
    assert found["kindred_requests_total", "/v1/chat/completions", "404"] == 1
    assert found["kindred_active_requests",] == 0
    assert found["process_resident_memory_bytes",] > before["process_cpu_seconds_total",] > 0


def test_logs_are_lines_of_json_without_a_word_of_the_chat(tiny_gguf, tmp_path):
    log = tmp_path / "log"
    with Serving(tiny_gguf, log, "--log", "json", "--api-key", "k3y") as server:
        key = {"Authorization": "Bearer k3y"}
        body = {"model": "tiny-F16", "messages": BODY["messages"], "max_tokens": 3, "seed": 1}
        made = server.post(body, headers=key).json()
        server.post(body | {"stream": True}, headers=key)
        httpx.get(f"{server.url}/models/{SECRET}", headers=key)
        httpx.get(f"{server.url}/{SECRET}", headers={"Authorization": f"Bearer {SECRET}"})
    text = log.read_text()
    lines = [json.loads(line) for line in text.splitlines()[1:]]
    assert [(line["route"], line["status"]) for line in lines] == [
        ("/v1/chat/completions", 200),
        ("/v1/chat/completions", 200),
        ("/v1/models/NAME", 404),
        ("other", 401),
    ]
    assert lines[0]["reply_tokens"] == made["usage"]["completion_tokens"]
    assert lines[0]["ending"] in ("length", "stop") and lines[0]["seconds"] > 0
    known = {"time", "method", "route", "status", "seconds", "ending", "first_token_s"}
    assert set(lines[0]) == known | {"prompt_tokens", "cached_tokens", "reply_tokens"}
    for word in (*SECRET.split(" ")[:2], "speak", "k3y"):
        assert word not in text.split("\n", 1)[1]
    assert route_of("/v1/models/x/../y") == "/v1/models/NAME"


def test_a_server_that_stops_lets_short_replies_end_and_admits_none(tiny_gguf, tmp_path):
    body = {"model": "tiny-F16", "messages": HELLO, "stream": True, "max_tokens": 200, "seed": 1}
    with Serving(tiny_gguf, tmp_path / "log", "--grace", "30") as server:
        url = f"{server.url}/chat/completions"
        with httpx.stream("POST", url, json=body, timeout=60) as answer:
            parts = answer.iter_text()
            next(parts)
            server.process.send_signal(signal.SIGTERM)
            rest = "".join(parts)
        assert rest.endswith("data: [DONE]\n\n") and "stopping" not in rest
        assert server.process.wait(timeout=20) == 0


def test_a_stopping_server_turns_new_requests_away():
    async def test():
        async with bench(queue=1) as b:
            running = b.ask(stream=True)
            await b.choosing()
            finishing = asyncio.create_task(b.app.finish(5))
            await asyncio.sleep(0)
            late = b.ask()
            await late.task
            assert late.status == 503
            assert json.loads(late.content())["error"]["code"] == "stopping"
            b.gate.release(100)
            await asyncio.gather(running.task, finishing)
            assert running.content().endswith(b"data: [DONE]\n\n")

    run(test)
