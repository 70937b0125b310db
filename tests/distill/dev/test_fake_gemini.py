"""Gemini's stand-in, seen by the official client."""

import json

import pytest
from google import genai
from google.genai import errors, types

from distill.dev.fake_gemini import FakeGemini
from distill.dev.faults import Faults

MODEL = "gemini-2.5-flash"


@pytest.fixture
def client_of(monkeypatch):
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    clients = []

    def make(server, key="any"):
        options = {"base_url": server.base_url, "client_args": {"trust_env": False}}
        clients.append(genai.Client(api_key=key, vertexai=False, http_options=options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def test_an_answer_has_text_version_and_usage(client_of):
    with FakeGemini() as server:
        config = {"system_instruction": "be kind", "max_output_tokens": 100}
        done = client_of(server).models.generate_content(model=MODEL, contents="hi", config=config)
        assert done.candidates[0].finish_reason == types.FinishReason.STOP
        assert done.model_version == "gemini-2.5-flash-stand-in"
        assert done.usage_metadata.prompt_token_count == 3
        assert done.usage_metadata.candidates_token_count == len(done.text.split())


def test_a_stream_gives_the_same_text(client_of):
    with FakeGemini() as server:
        client = client_of(server)
        whole = client.models.generate_content(model=MODEL, contents="hi")
        chunks = list(client.models.generate_content_stream(model=MODEL, contents="hi"))
    assert len(chunks) == 2 and "".join(chunk.text for chunk in chunks) == whole.text
    assert chunks[0].candidates[0].finish_reason is None


def test_blocks_come_as_feedback_and_as_a_candidate(client_of):
    with FakeGemini(Faults(block=1)) as server:
        models = client_of(server).models
        found = [models.generate_content(model=MODEL, contents=f"hi {n}") for n in range(12)]
    feedback = [one for one in found if one.prompt_feedback]
    assert 0 < len(feedback) < 12
    assert all(one.text is None for one in found)
    ends = {one.candidates[0].finish_reason for one in found if one.candidates}
    assert ends == {types.FinishReason.SAFETY}


def test_failures_have_googles_shape(client_of):
    with FakeGemini(Faults(fail_429=1, retry_after_ms=1500)) as server:
        with pytest.raises(errors.ClientError) as refused:
            client_of(server).models.generate_content(model=MODEL, contents="hi")
        assert (refused.value.code, refused.value.status) == (429, "RESOURCE_EXHAUSTED")
        assert refused.value.details["error"]["details"][0]["retryDelay"] == "1.5s"
    with FakeGemini(Faults(fail_500=1)) as server:
        with pytest.raises(errors.ServerError):
            client_of(server).models.generate_content(model=MODEL, contents="hi")
        assert server.counts()["answered"] == 0


def test_a_wrong_key_and_an_unknown_model_are_refused(client_of):
    with FakeGemini(key="right", models=(MODEL,)) as server:
        with pytest.raises(errors.ClientError, match="API key not valid"):
            client_of(server).models.generate_content(model=MODEL, contents="hi")
        client = client_of(server, "right")
        assert [one.name for one in client.models.list()] == [f"models/{MODEL}"]
        with pytest.raises(errors.ClientError, match="NOT_FOUND"):
            client.models.generate_content(model="other", contents="hi")
        assert client.models.count_tokens(model=MODEL, contents="one two").total_tokens == 2


def test_a_batch_from_a_file_answers_by_key(client_of, tmp_path):
    path = tmp_path / "requests.jsonl"
    rows = [
        {"key": f"k{n}", "request": {"contents": [{"parts": [{"text": f"{n}"}]}]}}
        for n in range(20)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    with FakeGemini(Faults(reorder=True, batch_looks=2)) as server:
        client = client_of(server)
        file = client.files.upload(file=str(path), config={"mime_type": "jsonl"})
        assert client.files.get(name=file.name).size_bytes == path.stat().st_size
        name = client.batches.create(model=MODEL, src=file.name).name
        states = [client.batches.get(name=name).state.name for _ in range(2)]
        assert states == ["JOB_STATE_RUNNING", "JOB_STATE_SUCCEEDED"]
        data = client.files.download(file=client.batches.get(name=name).dest.file_name)
        assert [one.name for one in client.batches.list()] == [name]
    keys = [json.loads(line)["key"] for line in data.splitlines()]
    wanted = [row["key"] for row in rows]
    assert keys != wanted and sorted(keys) == sorted(wanted)


def test_a_batch_in_the_call_keeps_its_metadata(client_of):
    requests = [
        {"contents": [{"parts": [{"text": "hi"}]}], "metadata": {"key": f"m{n}"}} for n in range(3)
    ]
    with FakeGemini(Faults(errors=1)) as server:
        client = client_of(server)
        name = client.batches.create(model=MODEL, src=requests).name
        found = client.batches.get(name=name).dest.inlined_responses
    assert [one.metadata["key"] for one in found] == ["m0", "m1", "m2"]
    assert all(one.error.code == 13 for one in found)


def test_a_file_that_is_not_there_is_a_404(client_of):
    with FakeGemini() as server:
        client = client_of(server)
        with pytest.raises(errors.ClientError, match="NOT_FOUND"):
            client.files.get(name="files/none")
        with pytest.raises(errors.ClientError, match="NOT_FOUND"):
            client.batches.create(model=MODEL, src="files/none")
