"""The chat seam against an endpoint on loopback."""

import pytest

from distill.core.chat import OpenAIChat, RefusedRequest, Sampling, ScriptedChat
from distill.core.errors import BadInput, Unavailable
from tests.endpoint import StubEndpoint

ASK = [{"role": "user", "content": "one two three"}]


def chat_with(endpoint, **options):
    return OpenAIChat("m", endpoint.url, api_key="k", retries=0, **options)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_carries_text_counts_end_and_version(stream):
    with StubEndpoint(str.upper, version="m-2026", finish_reason="length") as endpoint:
        reply = chat_with(endpoint, stream=stream).reply(ASK, Sampling(9, 0.5, 4))
    assert (reply.text, reply.tokens, reply.model) == ("ONE TWO THREE", 3, "m-2026")
    assert reply.finish_reason == "length" and reply.first_token_s > 0
    asked = endpoint.requests[0]
    assert (asked["max_tokens"], asked["temperature"], asked["seed"]) == (9, 0.5, 4)


def test_a_temperature_of_none_is_not_sent():
    with StubEndpoint(str.upper) as endpoint:
        chat_with(endpoint).reply(ASK, Sampling(temperature=None))
    assert "temperature" not in endpoint.requests[0] and "seed" not in endpoint.requests[0]


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RefusedRequest), (401, BadInput), (404, BadInput), (429, Unavailable)],
)
@pytest.mark.parametrize("stream", [False, True])
def test_each_refusal_of_an_endpoint_is_one_line(status, kind, stream):
    with (
        StubEndpoint(str.upper, status=lambda call: status) as endpoint,
        pytest.raises(kind) as refusal,
    ):
        chat_with(endpoint, stream=stream).reply(ASK, Sampling())
    assert "\n" not in str(refusal.value) and endpoint.url in str(refusal.value)


def test_the_endpoint_of_the_environment_is_used(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1/")
    assert OpenAIChat("m").url == "http://127.0.0.1:9/v1"
    assert OpenAIChat("m", "http://other/v1").url == "http://other/v1"


def test_a_key_is_never_shown():
    assert "secret" not in repr(OpenAIChat("m", api_key="secret"))


def test_a_scripted_chat_answers_by_its_script_and_remembers():
    chat = ScriptedChat(lambda messages: messages[-1]["content"].upper())
    reply = chat.reply(ASK, Sampling(max_tokens=2))
    assert (reply.text, reply.finish_reason) == ("ONE TWO", "length")
    assert chat.asked == [ASK]
