"""The server as OpenAI's own client and a plain HTTP client see it."""

import json

import httpx
import openai
import pytest

from runtime import load

HELLO = [{"role": "user", "content": "I lost my job today."}]
MODEL = "tiny-F16"


@pytest.fixture(scope="module")
def expected(tiny_gguf):
    """Text and counts of one greedy reply, from the engine itself."""
    with load(tiny_gguf, context=128, threads=1) as engine:
        reply = engine.chat(HELLO, temperature=0, max_tokens=20)
        text = "".join(piece.text for piece in reply)
        return text, reply.prompt_tokens, reply.tokens


def events(text):
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


def test_a_chat_has_text_reason_usage_and_timings(client, expected):
    text, prompt_tokens, tokens = expected
    made = client.chat.completions.create(model=MODEL, messages=HELLO, temperature=0, max_tokens=20)
    assert (made.choices[0].message.content, made.choices[0].finish_reason) == (text, "length")
    assert made.model == MODEL and made.object == "chat.completion"
    assert made.usage.prompt_tokens == prompt_tokens
    assert made.usage.completion_tokens == tokens
    assert made.usage.total_tokens == prompt_tokens + tokens
    timings = made.model_extra["timings"]
    names = {"prompt_tokens", "prompt_s", "first_token_s", "tokens", "tokens_per_s"}
    assert set(timings) == names and timings["tokens"] == tokens


def test_a_stream_has_the_same_text_one_id_and_its_usage(client, expected):
    text, prompt_tokens, tokens = expected
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=HELLO,
            temperature=0,
            max_completion_tokens=20,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == text
    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.choices[0].finish_reason for c in chunks[:-1]][-2:] == [None, "length"]
    last = chunks[-1]
    assert last.choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (prompt_tokens, tokens)
    assert last.model_extra["timings"]["tokens"] == tokens


def test_a_stream_ends_with_done_and_without_usage_unless_asked(serving):
    answer = serving.post({"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 3})
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = events(answer.text)
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert all("usage" not in chunk for chunk in chunks)


def test_the_same_seed_gives_the_same_text(client):
    def text(seed):
        made = client.chat.completions.create(
            model=MODEL, messages=HELLO, seed=seed, max_tokens=8, temperature=1
        )
        return made.choices[0].message.content

    # Where a chat lies in the cache may change the last bits of a logit, and these weights amplify
    # them: a short reply, and a prompt that is cached from its first time on.
    text(0)
    assert text(1) == text(1) != text(2)


def test_a_stop_string_ends_the_reply_before_it(client, expected):
    middle = len(expected[0]) // 2
    stop = expected[0][middle : middle + 2]
    made = client.chat.completions.create(
        model=MODEL, messages=HELLO, temperature=0, max_tokens=20, stop=stop
    )
    assert made.choices[0].finish_reason == "stop"
    assert made.choices[0].message.content == expected[0][: expected[0].index(stop)]


def test_text_parts_developer_messages_and_what_sdks_add_are_read(client):
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "I lost "}]},
        {"role": "assistant", "content": "Oh?", "refusal": None, "name": "student"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "my "}, {"type": "text", "text": "job"}],
        },
    ]
    plain = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "I lost "},
        {"role": "assistant", "content": "Oh?"},
        {"role": "user", "content": "my job"},
    ]
    options = {"temperature": 0, "max_tokens": 8, "user": "me", "n": 1, "logprobs": False}
    made = [
        client.chat.completions.create(model=MODEL, messages=m, **options)
        for m in (messages, plain)
    ]
    assert made[0].choices[0].message == made[1].choices[0].message
    assert made[0].usage.prompt_tokens == made[1].usage.prompt_tokens


def test_typed_control_tokens_cost_more_than_one_token(client):
    def count(text):
        messages = [{"role": "user", "content": text}]
        made = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=1)
        return made.usage.prompt_tokens

    assert count("<|end|>") - count("") > 1


def test_models_are_listed_and_found(client):
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match="there is no model 'other'"):
        client.models.retrieve("other")


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


def test_a_prompt_that_does_not_fit_is_refused_not_cut(client):
    messages = [{"role": "user", "content": "word " * 200}]
    with pytest.raises(openai.BadRequestError, match="the context holds 128") as caught:
        client.chat.completions.create(model=MODEL, messages=messages, stream=True)
    assert caught.value.code == "context_length_exceeded"


def test_health_answers(serving):
    answer = httpx.get(serving.url.removesuffix("/v1") + "/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


def test_other_names_for_this_machine_are_turned_away(serving):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", ""):
        answer = httpx.get(f"{serving.url}/models", headers={"Host": host})
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "host_not_allowed"
    port = serving.url.split(":")[2].removesuffix("/v1")
    for host in ("localhost", f"LOCALHOST:{port}", f"[::1]:{port}", "127.0.0.1"):
        assert httpx.get(f"{serving.url}/models", headers={"Host": host}).status_code == 200


def test_no_page_of_another_origin_is_let_in(serving):
    headers = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    preflight = httpx.options(f"{serving.url}/chat/completions", headers=headers)
    assert preflight.status_code == 405
    plain = httpx.get(f"{serving.url}/models", headers={"Origin": "http://evil.example"})
    for answer in (preflight, plain):
        assert not [name for name in answer.headers if name.startswith("access-control")]
