"""Text completions, responses, log-probabilities and schemas, as OpenAI's client sees them."""

import json
import math

import openai
import pytest

from runtime import load
from runtime.guard import Guard
from tests.runtime.serving import Serving

MODEL = "tiny-F16"
TEXT = "I lost my job today and"
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["sad", "glad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def expected(tiny_gguf):
    """What the engine itself answers, greedily."""
    with load(tiny_gguf, context=128, threads=1) as engine:

        def answered(prompt):
            reply = engine.chat(prompt, temperature=0, max_tokens=12)
            return "".join(piece.text for piece in reply), reply.prompt_tokens, reply.tokens

        yield answered


def user(text):
    return [{"role": "user", "content": text}]


def test_a_text_is_continued_without_a_template(client, expected):
    text, prompt_tokens, tokens = expected(TEXT)
    made = client.completions.create(model=MODEL, prompt=TEXT, temperature=0, max_tokens=12)
    assert (made.object, made.choices[0].text) == ("text_completion", text)
    assert made.choices[0].finish_reason == "length"
    assert (made.usage.prompt_tokens, made.usage.completion_tokens) == (prompt_tokens, tokens)
    assert prompt_tokens < expected(user(TEXT))[1]
    chunks = list(
        client.completions.create(
            model=MODEL,
            prompt=[TEXT],
            temperature=0,
            max_tokens=12,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == text
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].usage.completion_tokens == tokens


def test_a_completion_has_sixteen_tokens_unless_told(client):
    made = client.completions.create(model=MODEL, prompt=TEXT, seed=1, temperature=1.5)
    assert made.usage.completion_tokens <= 16


@pytest.mark.parametrize("given", [[TEXT, TEXT], [1, 2], "", None])
def test_only_one_text_is_continued(client, given):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=MODEL, prompt=given)
    assert caught.value.param.startswith("prompt")


def test_a_response_has_the_text_and_the_usage_of_a_chat(client, expected):
    text, prompt_tokens, tokens = expected(user(TEXT))
    made = client.responses.create(model=MODEL, input=TEXT, temperature=0, max_output_tokens=12)
    assert made.output_text == text and made.id.startswith("resp_")
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert (made.usage.input_tokens, made.usage.output_tokens) == (prompt_tokens, tokens)
    assert made.usage.total_tokens == prompt_tokens + tokens


def test_instructions_and_items_are_the_conversation(client, expected):
    talk = [
        {"role": "system", "content": "Be kind."},
        *user("hi"),
        {"role": "assistant", "content": "Oh?"},
        *user("my job"),
    ]
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "Oh?"}]},
        {"role": "user", "content": "my job"},
    ]
    made = client.responses.create(
        model=MODEL, instructions="Be kind.", input=items, temperature=0, max_output_tokens=12
    )
    assert (made.output_text, made.usage.input_tokens) == expected(talk)[:2]


def test_the_events_of_a_response_come_in_the_order_that_clients_expect(client, expected):
    text = expected(user(TEXT))[0]
    options = {"model": MODEL, "input": TEXT, "temperature": 0, "max_output_tokens": 12}
    events = list(client.responses.create(stream=True, **options))
    kinds = [event.type for event in events]
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[4 : 4 + len(deltas)] == ["response.output_text.delta"] * len(deltas)
    assert kinds[4 + len(deltas) :] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.incomplete",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in deltas) == text == events[-1].response.output_text
    middle = len(text) // 2
    with client.responses.stream(extra_body={"stop": text[middle:]}, **options) as stream:
        final = stream.get_final_response()
    assert (final.status, final.output_text) == ("completed", text[: text.index(text[middle:])])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("previous_response_id", "resp_1"),
        ("conversation", "conv_1"),
        ("store", True),
        ("background", True),
        ("tools", [{"type": "web_search"}]),
        ("truncation", "auto"),
        ("reasoning", {"effort": "low"}),
    ],
)
def test_what_would_need_a_memory_or_tools_is_refused_by_name(client, name, value):
    with pytest.raises(openai.BadRequestError, match="is not supported here") as caught:
        client.responses.create(model=MODEL, input="hi", **{name: value})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


def test_the_guard_speaks_first_in_every_protocol(client):
    block = Guard().check("I want to die").block
    made = client.responses.create(model=MODEL, input="I want to die", max_output_tokens=2)
    assert made.output_text.startswith(block) and made.model_extra["kindred"]["guard"]["fired"]
    events = client.responses.create(
        model=MODEL, input="I want to die", max_output_tokens=2, stream=True
    )
    first = next(event for event in events if event.type == "response.output_text.delta")
    assert first.delta == block
    text = client.completions.create(model=MODEL, prompt="I want to die", max_tokens=2)
    assert text.choices[0].text.startswith(block)


def test_log_probabilities_are_there_where_they_are_asked_for(client, expected):
    options = {"model": MODEL, "messages": user(TEXT), "temperature": 0, "max_tokens": 12}
    made = client.chat.completions.create(logprobs=True, top_logprobs=3, **options)
    told = made.choices[0].logprobs.content
    text = b"".join(bytes(each.bytes) for each in told).decode("utf-8", "replace")
    assert text == expected(user(TEXT))[0]
    for each in told:
        assert len(each.top_logprobs) == 3 and each.logprob <= 0
        assert each.logprob == max(top.logprob for top in each.top_logprobs)
        assert sum(math.exp(top.logprob) for top in each.top_logprobs) <= 1 + 1e-6
    chunks = client.chat.completions.create(logprobs=True, top_logprobs=3, stream=True, **options)
    streamed = [
        each
        for chunk in chunks
        for choice in chunk.choices
        if choice.logprobs
        for each in choice.logprobs.content
    ]
    assert [each.token for each in streamed] == [each.token for each in told]
    old = client.completions.create(
        model=MODEL, prompt=TEXT, temperature=0, max_tokens=4, logprobs=2
    )
    given = old.choices[0].logprobs
    assert len(given.tokens) == len(given.token_logprobs) == len(given.top_logprobs) == 4
    assert given.text_offset[0] == 0 and given.text_offset == sorted(given.text_offset)


def test_a_bias_forbids_and_forces_tokens(client, tiny_gguf):
    with load(tiny_gguf, context=128, threads=1) as engine:
        token = engine.backend.encode("!")[0]
        banned = engine.backend.encode("x")[0]
    made = client.chat.completions.create(
        model=MODEL,
        messages=user(TEXT),
        temperature=0,
        max_tokens=5,
        logit_bias={str(token): 100, str(banned): -100},
    )
    assert made.choices[0].message.content == "!" * 5
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=MODEL, messages=user(TEXT), logit_bias={"999999999": 1}
        )


def test_a_schema_binds_the_reply(client):
    form = {"type": "json_schema", "json_schema": {"name": "mood", "schema": SCHEMA}}
    made = client.chat.completions.create(
        model=MODEL, messages=user(TEXT), response_format=form, seed=1, max_tokens=60
    )
    assert json.loads(made.choices[0].message.content)["mood"] in ("sad", "glad")
    answered = client.responses.create(
        model=MODEL,
        input=TEXT,
        max_output_tokens=60,
        text={"format": {"type": "json_schema", "name": "mood", "schema": SCHEMA}},
    )
    assert json.loads(answered.output_text)["mood"] in ("sad", "glad")
    assert answered.text.format.type == "json_schema"
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(
            model=MODEL, messages=user(TEXT), response_format=bad, max_tokens=2
        )


def test_errors_are_the_exceptions_of_the_client(tiny_gguf, tmp_path):
    with Serving(tiny_gguf, tmp_path / "log", "--api-key", "k3y", "--max-body", "2000") as server:
        options = {"base_url": server.url, "max_retries": 0, "timeout": 60}
        with openai.OpenAI(api_key="wrong", **options) as wrong:
            with pytest.raises(openai.AuthenticationError) as caught:
                wrong.models.list()
            assert caught.value.code == "invalid_api_key"
        with openai.OpenAI(api_key="k3y", **options) as client:
            with pytest.raises(openai.NotFoundError):
                client.responses.create(model="other", input="hi")
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(model=MODEL, messages=[])
            with pytest.raises(openai.APIStatusError) as caught:
                client.chat.completions.create(model=MODEL, messages=user("x" * 2000))
            assert caught.value.status_code == 413
