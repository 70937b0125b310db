"""Whatever is sent, the answer is 2xx or 4xx in OpenAI's error shape, never 5xx."""

import json
import random

import httpx
import pytest

from runtime.limits import Limits
from runtime.request import ChatRequest
from tests.benchmarks.api_fuzz import drawn, raw

HELLO = [{"role": "user", "content": "hi"}]
GOOD = {"model": "tiny-F16", "messages": HELLO, "max_tokens": 1}
FUZZ_REQUESTS = 300
STRANGE = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.5, 1e308, "", "x", "\ud800", "\0",
    "<|end|>", "😀" * 50, [], [[]], [None], {}, {"": ""}, {"role": "user"}, HELLO, [HELLO],
]  # fmt: skip


def check(answer: httpx.Response, status: int | None = None) -> dict:
    """The error of an answer, once its shape is right."""
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert 400 <= answer.status_code < 500
    assert status is None or answer.status_code == status, error
    assert isinstance(error["message"], str) and isinstance(error["type"], str)
    return error


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": "hello"}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [1]}, "messages.0"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
        ),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "messages.0.content"),
        ({"model": 3}, "model"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"top_k": 2**40}, "top_k"),
        ({"min_p": 2}, "min_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"seed": 1.5}, "seed"),
        ({"stop": ""}, "stop.0"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stop": [3]}, "stop.0"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": "usage"}, "stream_options"),
        ({"n": 2}, "n"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": 3}}},
            "response_format.json_schema.json_schema.schema",
        ),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -2.5}, "frequency_penalty"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a.[key]"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"temprature": 1}, "temprature"),
    ],
)
def test_a_wrong_parameter_is_named(serving, change, param):
    assert check(serving.post(GOOD | change), 400)["param"] == param


def test_a_missing_parameter_is_named(serving):
    for name in ("model", "messages"):
        body = {key: value for key, value in GOOD.items() if key != name}
        assert check(serving.post(body), 400)["param"] == name


def test_null_is_absent(serving):
    names = set(ChatRequest.model_fields) - {"model", "messages", "max_tokens"}
    assert serving.post(GOOD | dict.fromkeys(names)).status_code == 200


def test_a_message_that_is_refused_is_not_quoted_back(serving):
    answer = serving.post(GOOD | {"messages": [{"role": "user", "content": ["my secret"]}]})
    assert "my secret" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"hello",
        b"[]",
        b"null",
        b'{"model": NaN}',
        b'{"temperature": Infinity}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"seed": ' + b"9" * 5000 + b"}",
        b'{"model": "tiny-F16", "messages": [], "x": "\\ud800"}',
        b'{"\\ud800": 1, "model": "tiny-F16", "messages": [{"role": "user", "content": "x"}]}',
    ],
    ids=repr,
)
def test_a_body_that_is_no_request_is_a_400(serving, body):
    headers = {"content-type": "application/json"}
    answer = httpx.post(f"{serving.url}/chat/completions", content=body, headers=headers)
    check(answer, 400)


def test_only_json_is_read(serving):
    url = f"{serving.url}/chat/completions"
    text = json.dumps(GOOD)
    for kind in ({}, {"content-type": "text/plain"}, {"content-type": "multipart/form-data"}):
        check(httpx.post(url, content=text, headers=kind), 415)
    answer = httpx.post(
        url, content=text, headers={"content-type": "application/json; charset=utf-8"}
    )
    assert answer.status_code == 200


def test_a_body_that_is_too_large_is_a_413(serving):
    body = GOOD | {"messages": [{"role": "user", "content": "x" * Limits.body_bytes}]}
    check(serving.post(body), 413)


def test_other_routes_and_methods_are_errors_of_the_same_shape(serving):
    root = serving.url.removesuffix("/v1")
    for path in ("/", "/v1/embeddings", "/docs", "/v1/models/%ff%00", "/%00"):
        check(httpx.get(root + path), 404)
    check(httpx.get(f"{serving.url}/chat/completions"), 405)
    check(httpx.post(f"{root}/health"), 405)


def mutated(value, draw):
    """A copy with one part, somewhere, replaced, removed or doubled."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        key = draw.choice(list(value))
        rest = {k: v for k, v in value.items() if k != key}
        chance = draw.random()
        if chance < 0.15:
            return rest
        if chance < 0.25:
            return rest | {draw.choice(["x", "stop", "n", "tools", "\ud800"]): value[key]}
        return rest | {key: mutated(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.7:
        place = draw.randrange(len(value))
        return [*value[:place], mutated(value[place], draw), *value[place:][: draw.randrange(3)]]
    return draw.choice(STRANGE)


def test_no_mutation_of_a_request_makes_the_server_fail(serving):
    draw = random.Random(0)
    whole = GOOD | {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "seed": 1,
        "stop": ["x", "yy"],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_completion_tokens": 1,
    }
    statuses = set()
    with httpx.Client(timeout=60) as client:
        for _ in range(FUZZ_REQUESTS):
            body = whole
            for _ in range(draw.randint(1, 3)):
                body = mutated(body, draw)
            answer = client.post(
                f"{serving.url}/chat/completions",
                content=json.dumps(body).encode(),
                headers={"content-type": "application/json"},
            )
            statuses.add(answer.status_code)
            if answer.status_code != 200:
                check(answer)
    assert statuses == {200, 400, 404}


def test_nothing_drawn_from_the_schema_or_sent_raw_makes_the_server_fail(serving):
    found = drawn(serving.url, 240, seed=0)
    assert found["broken"] == []
    assert {200, 400} <= set(found["statuses"])
    statuses = raw(serving.url, 60, seed=0)
    assert not [line for line in statuses if line.startswith("HTTP/1.1 5")]
    assert httpx.get(f"{serving.url}/models").status_code == 200
