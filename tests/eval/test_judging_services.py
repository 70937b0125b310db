"""Judges through the providers' own wire formats, now and by batch, against stand-ins."""

import json

import numpy as np
import pytest

from distill.dev.fake_gemini import FakeGemini
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from eval import embedding
from tests.eval.pairs import distill, write_answers, write_dialogues

SERVICES = {"openai": (FakeOpenAI, "gpt-4o"), "gemini": (FakeGemini, "gemini-2.5-flash")}


@pytest.fixture
def judged(tmp_path):
    dialogues = write_dialogues(tmp_path / "test.jsonl", 6)
    a = write_answers(tmp_path / "a.jsonl", "a", [f"I am sorry, {n}." for n in range(6)])
    b = write_answers(tmp_path / "b.jsonl", "b", [f"Oh no, {n}." for n in range(6)])

    def run(provider, server, *words):
        judge = ["--judge", f"{provider}:{SERVICES[provider][1]}", "--base-url", server.base_url]
        common = ["--dialogues", dialogues, "--out", tmp_path / "out", "--json", *judge, *words]
        done = distill("eval", "winrate", a, b, *common, GEMINI_API_KEY="none")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("provider", SERVICES)
def test_a_provider_judges_now_and_its_version_is_kept(provider, judged):
    with SERVICES[provider][0](Faults()) as server:
        found = judged(provider, server, "--max-cost", 1)
        assert found["calls"] == 12 and found["decided"] == 6
        assert list(found["judge_versions"].values()) == [12]
        again = judged(provider, server, "--max-cost", 1)
        assert again["calls"] == 0 and server.counts()["answered"] == 12


@pytest.mark.parametrize("provider", SERVICES)
def test_a_batch_is_submitted_once_and_the_same_command_fetches_it(provider, judged):
    with SERVICES[provider][0](Faults(batch_looks=2)) as server:
        [sent] = judged(provider, server, "--batch")["judges"].values()
        assert (sent["calls"], sent["waiting"], len(sent["submitted"])) == (12, 0, 1)
        [waiting] = judged(provider, server, "--batch")["judges"].values()
        assert (waiting["calls"], waiting["waiting"]) == (0, 12)
        found = judged(provider, server, "--batch")
    assert (found["decided"], found["calls"], found["pairs"]) == (6, 0, 6)


def test_embeddings_of_an_endpoint_are_unit_vectors_in_the_order_of_the_texts(monkeypatch):
    """The endpoint answers out of order; `index` says whose each vector is."""

    class Answer:
        def __init__(self, index, values):
            self.index, self.embedding = index, values

    class Embeddings:
        def create(self, model, input):
            assert model == "m"
            rows = [Answer(n, [len(text), 1.0]) for n, text in enumerate(input)]
            return type("Found", (), {"data": rows[::-1]})

    client = type("Client", (), {"embeddings": Embeddings()})()
    monkeypatch.setattr("distill.core.chat.openai.OpenAIChat.client", client)
    vectors = embedding.embed(["ccc", "a", "ccc"], "openai:m")
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[0], vectors[2]) and vectors[0, 0] > vectors[1, 0]
