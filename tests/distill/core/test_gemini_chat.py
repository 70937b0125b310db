"""The gemini adapter, through google-genai, against the stand-in service."""

import pytest

from distill.core.asking import Terms, ask_all
from distill.core.chat import RefusedRequest, Sampling
from distill.core.chat.gemini import GeminiChat
from distill.core.chat.table import open_chat
from distill.core.errors import BadInput, Unavailable
from distill.core.ledger import Ledger
from distill.dev.fake_gemini import FakeGemini
from distill.dev.faults import Faults
from tests.distill.core.asks import ROOM, asks

ASKED = [
    {"role": "system", "content": "Answer warmly."},
    {"role": "user", "content": "my day was long"},
    {"role": "assistant", "content": "What made it long?"},
    {"role": "user", "content": "my boss"},
]
MODEL = "gemini-2.5-flash"


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch):
    for name in ("GOOGLE_API_KEY", "GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


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
def test_each_outcome_is_told_apart(faults, outcome, stream, tmp_path):
    with FakeGemini(faults) as server, Ledger(tmp_path / "l.sqlite") as ledger:
        chat = open_chat(f"gemini:{MODEL}", base_urls=[server.base_url], stream=stream)
        found = list(ask_all(asks(6, ROOM), chat, ledger, Terms()))
    assert {one.reply.outcome for one in found} == {outcome}
    assert {one.reply.model for one in found} == {f"{MODEL}-stand-in"}
    assert ledger_counts(found) == (6, True)


def ledger_counts(found):
    return len(found), all(one.reply.prompt_tokens > 0 for one in found)


def test_system_messages_become_the_instruction_and_the_assistant_the_model():
    request = GeminiChat(MODEL).request(ASKED, Sampling(9, None, 4, sample=1))
    assert request["config"] == {
        "max_output_tokens": 9,
        "seed": 5,
        "system_instruction": "Answer warmly.",
    }
    assert [content["role"] for content in request["contents"]] == ["user", "model", "user"]


def test_the_wait_that_the_service_asks_for_is_kept():
    waits = []
    with FakeGemini(Faults(fail_429=1, retry_after_ms=7000)) as server:
        chat = GeminiChat(MODEL, base_urls=(server.base_url,), retries=2, sleep=waits.append)
        with pytest.raises(Unavailable, match="over its limit"):
            chat.reply(ASKED, Sampling())
        assert server.counts()["requests"] == 3
    assert waits == [7.0, 7.0]


def test_a_service_that_asks_for_too_long_a_wait_is_not_waited_for():
    waits = []
    with FakeGemini(Faults(fail_429=1, retry_after_ms=3_600_000)) as server:
        chat = GeminiChat(MODEL, base_urls=(server.base_url,), sleep=waits.append)
        with pytest.raises(Unavailable, match="over its limit"):
            chat.reply(ASKED, Sampling())
    assert waits == []


def test_limits_and_server_errors_are_waited_out():
    with FakeGemini(Faults(fail_429=0.3, fail_500=0.2, retry_after_ms=1)) as server:
        chat = GeminiChat(MODEL, base_urls=(server.base_url,), retries=20)
        replies = [chat.reply(one.messages, one.sampling) for one in asks(10)]
        counts = server.counts()
    assert len(replies) == counts["answered"] == 10
    assert counts["http_429"] + counts["http_500"] > 0


def test_a_service_that_does_not_answer_is_left_after_the_timeout():
    waits = []
    with FakeGemini(Faults(timeout=1)) as server:
        urls = (server.base_url,)
        chat = GeminiChat(MODEL, base_urls=urls, timeout_s=0.2, retries=1, sleep=waits.append)
        with pytest.raises(Unavailable, match=r"within 0\.2 s"):
            chat.reply(ASKED, Sampling())
    assert len(waits) == 1 and 0 < waits[0] <= 0.5


def test_an_address_where_nobody_listens_is_one_line():
    with FakeGemini() as server:
        url = server.base_url
    with pytest.raises(Unavailable, match=f"{url} cannot be reached"):
        GeminiChat(MODEL, base_urls=(url,), retries=0).reply(ASKED, Sampling())


def test_several_base_urls_share_the_calls(tmp_path):
    with FakeGemini() as one, FakeGemini() as two, Ledger(tmp_path / "l.sqlite") as ledger:
        chat = open_chat(f"gemini:{MODEL}", base_urls=[one.base_url, two.base_url])
        list(ask_all(asks(20), chat, ledger, Terms(concurrency=4)))
        shares = [server.counts()["answered"] for server in (one, two)]
    assert sum(shares) == 20 and min(shares) >= 5


@pytest.mark.parametrize(
    ("given", "used", "said"),
    [
        ({"GOOGLE_API_KEY": "a", "GEMINI_API_KEY": "b"}, "a", "GOOGLE_API_KEY is used"),
        ({"GEMINI_API_KEY": "b"}, "b", ""),
        ({"GOOGLE_API_KEY": "a"}, "a", ""),
    ],
)
def test_the_key_of_the_environment_is_used_and_with_two_it_is_said(
    given, used, said, monkeypatch, capsys, caplog
):
    for name, key in given.items():
        monkeypatch.setenv(name, key)
    with FakeGemini(key=used) as server:
        chat = open_chat(f"gemini:{MODEL}", base_urls=[server.base_url])
        assert chat.reply(ASKED, Sampling()).outcome == "answered"
    told = capsys.readouterr().err
    assert said in told and bool(told) == bool(said)


def test_a_wrong_key_and_an_unknown_model_and_a_bad_request_are_one_line_each():
    with FakeGemini(key="right", models=(MODEL,)) as server:
        urls = (server.base_url,)
        with pytest.raises(BadInput, match="set GEMINI_API_KEY") as refusal:
            GeminiChat(MODEL, "wrong", base_urls=urls).reply(ASKED, Sampling())
        assert "\n" not in str(refusal.value)
        with pytest.raises(BadInput, match="choose another model"):
            GeminiChat("gemini-9", "right", base_urls=urls).reply(ASKED, Sampling())
        with pytest.raises(RefusedRequest, match="max_output_tokens"):
            GeminiChat(MODEL, "right", base_urls=urls).reply(ASKED, Sampling(max_tokens=0))


def test_the_hosted_service_needs_a_key_before_the_first_call():
    with pytest.raises(BadInput, match="set GEMINI_API_KEY"):
        open_chat(f"gemini:{MODEL}")
