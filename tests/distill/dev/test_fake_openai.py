"""OpenAI's stand-in, seen by the official client."""

import json

import openai
import pytest

from distill.core.errors import BadInput, Unavailable
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults

MODEL = "gpt-4o"
ASKED = [{"role": "user", "content": "my dog is ill"}]


def client_of(server, **options):
    direct = openai.DefaultHttpxClient(trust_env=False)
    settings = {"api_key": "any", "max_retries": 0, **options}
    return openai.OpenAI(base_url=server.base_url, http_client=direct, **settings)


def finish_of(client, **request):
    done = client.chat.completions.create(model=MODEL, messages=ASKED, **request)
    return done.choices[0].finish_reason, done.choices[0].message.content


def test_a_completion_has_text_version_and_usage():
    with FakeOpenAI() as server, client_of(server) as client:
        done = client.chat.completions.create(model=MODEL, messages=ASKED, max_tokens=100)
    assert done.choices[0].finish_reason == "stop" and done.model == "gpt-4o-stand-in"
    assert done.usage.completion_tokens == len(done.choices[0].message.content.split())
    assert done.usage.prompt_tokens == 4


def test_a_stream_gives_the_same_text_and_counts():
    with FakeOpenAI() as server, client_of(server) as client:
        whole = client.chat.completions.create(model=MODEL, messages=ASKED)
        chunks = list(
            client.chat.completions.create(
                model=MODEL, messages=ASKED, stream=True, stream_options={"include_usage": True}
            )
        )
        assert server.counts()["repeated"] == 1
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"


@pytest.mark.parametrize(
    ("faults", "finish", "has_text"),
    [
        (Faults(block=1), "content_filter", False),
        (Faults(truncate=1), "length", True),
        (Faults(empty=1), "stop", False),
    ],
)
def test_endings_that_are_no_answer(faults, finish, has_text):
    with FakeOpenAI(faults) as server, client_of(server) as client:
        found, text = finish_of(client)
    assert (found, bool(text)) == (finish, has_text)


def test_the_limit_of_tokens_is_kept():
    with FakeOpenAI() as server, client_of(server) as client:
        finish, text = finish_of(client, max_completion_tokens=3)
    assert finish == "length" and len(text.split()) == 3


def test_429_and_500_are_told_as_such_and_not_counted_as_paid():
    with FakeOpenAI(Faults(fail_429=1)) as server, client_of(server) as client:
        with pytest.raises(openai.RateLimitError) as refused:
            finish_of(client)
        assert refused.value.response.headers["retry-after"] == "1"
        assert server.counts()["answered"] == 0 and server.counts()["http_429"] == 1
    with (
        FakeOpenAI(Faults(fail_500=1)) as server,
        client_of(server) as client,
        pytest.raises(openai.InternalServerError),
    ):
        finish_of(client)


def test_the_clients_retries_reach_an_answer():
    faults = Faults(fail_429=0.4, fail_500=0.2, retry_after_ms=1)
    with FakeOpenAI(faults) as server, client_of(server, max_retries=30) as client:
        assert finish_of(client)[0] == "stop"
        counts = server.counts()
    assert counts["answered"] == 1
    assert counts["requests"] == 1 + counts["http_429"] + counts["http_500"]


def test_a_request_that_is_held_times_out_at_the_client():
    with FakeOpenAI(Faults(timeout=1)) as server, client_of(server, timeout=0.2) as client:
        with pytest.raises(openai.APITimeoutError):
            finish_of(client)
        assert server.counts()["timeout"] == 1 and server.counts()["answered"] == 0


def test_a_wrong_key_and_an_unknown_model_are_refused():
    with FakeOpenAI(key="right", models=(MODEL,)) as server:
        with client_of(server) as client, pytest.raises(openai.AuthenticationError):
            finish_of(client)
        with client_of(server, api_key="right") as client:
            assert [model.id for model in client.models.list()] == [MODEL]
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="other", messages=ASKED)


@pytest.mark.parametrize(
    "body",
    [
        {"model": MODEL, "messages": []},
        {"model": "", "messages": ASKED},
        {"model": MODEL, "messages": ["words"]},
        {"model": MODEL, "messages": ASKED, "max_tokens": 0},
        {"model": MODEL, "messages": ASKED, "n": 2},
    ],
)
def test_a_request_that_cannot_be_read_is_a_400(body):
    with (
        FakeOpenAI() as server,
        client_of(server) as client,
        pytest.raises(openai.BadRequestError),
    ):
        client.chat.completions.create(**body)


def batch_of(client, lines):
    data = "\n".join(lines).encode()
    file = client.files.create(file=("requests.jsonl", data), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
    )
    assert batch.status == "validating"
    return client.batches.retrieve(batch.id)


def row(key, text="hello", model=MODEL):
    body = {"model": model, "messages": [{"role": "user", "content": text}]}
    url = "/v1/chat/completions"
    return json.dumps({"custom_id": key, "method": "POST", "url": url, "body": body})


def test_a_batch_answers_as_the_chat_does():
    with FakeOpenAI() as server, client_of(server) as client:
        batch = batch_of(client, [row("a", "my dog is ill")])
        lines = client.files.content(batch.output_file_id).text.splitlines()
        found = json.loads(lines[0])["response"]["body"]["choices"][0]["message"]["content"]
        assert batch.status == "completed" and batch.error_file_id is None
        assert found == finish_of(client)[1]
        assert [one.id for one in client.batches.list()] == [batch.id]


def test_results_come_in_another_order_when_asked():
    keys = [f"k{number}" for number in range(20)]
    with FakeOpenAI(Faults(reorder=True)) as server, client_of(server) as client:
        batch = batch_of(client, [row(key) for key in keys])
        lines = client.files.content(batch.output_file_id).text.splitlines()
    found = [json.loads(line)["custom_id"] for line in lines]
    assert found != keys and sorted(found) == sorted(keys)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([row("a"), row("a")], "duplicate_custom_id"),
        ([row("a"), row("b", model="other")], "mismatched_model"),
        (["no json"], "invalid_request"),
        ([json.dumps({"custom_id": "a"})], "invalid_request"),
        ([], "empty_file"),
    ],
)
def test_a_batch_that_cannot_be_read_fails_whole(lines, code):
    with FakeOpenAI() as server, client_of(server) as client:
        batch = batch_of(client, lines)
        assert batch.status == "failed" and batch.errors.data[0].code == code
        assert server.counts()["answered"] == 0


def test_files_can_be_listed_and_deleted():
    with FakeOpenAI() as server, client_of(server) as client:
        file = client.files.create(file=("a.jsonl", b"{}"), purpose="batch")
        assert client.files.retrieve(file.id).bytes == 2
        assert [one.id for one in client.files.list()] == [file.id]
        client.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            client.files.content(file.id)


def test_a_port_in_use_is_refused():
    with FakeOpenAI() as server, pytest.raises(Unavailable, match="choose another with --port"):
        FakeOpenAI(port=server.port).__enter__()


def test_rates_that_are_none_are_refused():
    with pytest.raises(BadInput, match=r"drop is 1\.5"):
        Faults(drop=1.5)
    with pytest.raises(BadInput, match="add up to more than 1"):
        Faults(fail_429=0.6, fail_500=0.6)


def test_fates_are_decided_by_seed_digest_and_attempt():
    one, same, other = Faults(fail_429=0.5), Faults(fail_429=0.5), Faults(fail_429=0.5, seed=1)
    digests = [f"d{number}" for number in range(200)]
    assert [one.failure(d, 0) for d in digests] == [same.failure(d, 0) for d in digests]
    assert [one.failure(d, 0) for d in digests] != [other.failure(d, 0) for d in digests]
    assert [one.failure(d, 0) for d in digests] != [one.failure(d, 1) for d in digests]
    assert 70 < sum(one.failure(d, 0) == "http_429" for d in digests) < 130
