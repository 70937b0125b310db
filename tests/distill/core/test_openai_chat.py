"""The openai adapter, through the official client, against the stand-in service."""

from collections import Counter

import pytest

from distill.core.asking import Terms, ask_all
from distill.core.chat import OpenAIChat, Sampling
from distill.core.chat.sharing import Sharing
from distill.core.chat.table import open_chat
from distill.core.errors import BadInput, Unavailable
from distill.core.ledger import Ledger
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from tests.distill.core.asks import ROOM, asks

ASKED = [{"role": "user", "content": "my day was long"}]
QUICK = {"retry_after_ms": 1}


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("faults", "outcome"),
    [
        (Faults(), "answered"),
        (Faults(block=1), "blocked"),
        (Faults(truncate=1), "cut"),
        (Faults(empty=1), "empty"),
    ],
)
def test_each_outcome_is_told_apart(faults, outcome, stream):
    with FakeOpenAI(faults) as server:
        chat = open_chat("openai:gpt-4o", base_urls=[server.base_url], stream=stream)
        reply = chat.reply(ASKED, Sampling())
    assert reply.outcome == outcome and reply.prompt_tokens > 0
    assert reply.model != "gpt-4o" and "gpt-4o" in reply.model


def test_limits_and_server_errors_are_waited_out():
    with FakeOpenAI(Faults(fail_429=0.3, fail_500=0.2, **QUICK)) as server:
        chat = OpenAIChat("m", server.base_url, retries=20)
        replies = [chat.reply(one.messages, one.sampling) for one in asks(10)]
        counts = server.counts()
    assert len(replies) == counts["answered"] == 10
    assert counts["http_429"] + counts["http_500"] > 0


def test_the_wait_that_a_service_asks_for_is_kept(monkeypatch):
    import openai

    waits = []
    monkeypatch.setattr(
        openai.OpenAI,
        "_sleep_for_retry",
        lambda self, **parts: waits.append(self.wait_of(parts)),
        raising=True,
    )
    monkeypatch.setattr(
        openai.OpenAI,
        "wait_of",
        lambda self, parts: self._calculate_retry_timeout(
            parts["max_retries"] - parts["retries_taken"],
            parts["options"],
            parts["response"].headers,
        ),
        raising=False,
    )
    with FakeOpenAI(Faults(fail_429=1, retry_after_ms=7000)) as server:
        chat = OpenAIChat("m", server.base_url, retries=2)
        with pytest.raises(Unavailable, match="over its limit after 3 attempts"):
            chat.reply(ASKED, Sampling())
    assert waits == [7.0, 7.0]


def test_a_service_that_does_not_answer_is_left_after_the_timeout():
    with FakeOpenAI(Faults(timeout=1)) as server:
        chat = OpenAIChat("m", server.base_url, retries=0, timeout_s=0.2)
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            chat.reply(ASKED, Sampling())


def test_several_base_urls_share_the_calls(tmp_path):
    with FakeOpenAI() as one, FakeOpenAI() as two, Ledger(tmp_path / "l.sqlite") as ledger:
        chat = open_chat("openai:m", base_urls=[one.base_url, two.base_url])
        found = list(ask_all(asks(20), chat, ledger, Terms(concurrency=4)))
        shares = [server.counts()["answered"] for server in (one, two)]
    assert sum(shares) == len(found) == 20 and min(shares) >= 5


def test_a_dead_address_rests_and_the_other_does_its_work(capsys):
    with FakeOpenAI() as gone:
        dead = gone.base_url
    with FakeOpenAI() as alive:
        chat = OpenAIChat("m", retries=0, base_urls=(dead, alive.base_url))
        for one in asks(5, ROOM):
            assert chat.reply(one.messages, one.sampling).outcome == "answered"
    assert capsys.readouterr().err.count("rests for") == 1


def test_when_no_address_answers_the_call_fails():
    with FakeOpenAI() as one, FakeOpenAI() as two:
        urls = (one.base_url, two.base_url)
    with pytest.raises(Unavailable, match="cannot be reached"):
        OpenAIChat("m", retries=0, base_urls=urls).reply(ASKED, Sampling())


def test_a_rested_address_is_asked_again_later():
    clock, tried = iter([0.0] * 6 + [100.0] * 9), Counter()
    sharing = Sharing(["a", "b"], lambda: next(clock))

    def call(url):
        tried[url] += 1
        if url == "a" and tried[url] == 1:
            raise Unavailable("a is down")
        return url

    assert sharing.ask(call) == "b"
    assert {sharing.ask(call) for _ in range(3)} == {"a", "b"}


def test_the_hosted_service_needs_a_key_before_the_first_call():
    with pytest.raises(BadInput, match="set OPENAI_API_KEY"):
        open_chat("openai:gpt-4o")


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host/v1", "http://"])
def test_what_is_no_base_url_is_refused(url):
    with pytest.raises(BadInput, match="is not a base URL"):
        open_chat("openai:m", base_urls=[url])


@pytest.mark.parametrize("spec", ["gpt-4o", "openai:", "acme:m", ""])
def test_a_teacher_that_is_not_in_the_table_is_refused(spec):
    with pytest.raises(BadInput, match="openai, gemini, transformers, scripted"):
        open_chat(spec)


def test_the_scripted_teacher_answers_without_a_service():
    chat = open_chat("scripted:echo")
    assert (chat.provider, chat.model) == ("scripted", "echo")
    assert chat.reply(ASKED, Sampling()).outcome == "answered"
    with pytest.raises(BadInput, match="choose one of: echo"):
        open_chat("scripted:other")


def test_a_sample_has_a_seed_of_its_own():
    chat = OpenAIChat("m", "http://127.0.0.1:9/v1")
    assert chat.request(ASKED, Sampling(seed=5, sample=2))["seed"] == 7
    assert "seed" not in chat.request(ASKED, Sampling(sample=2))
