"""Batches through the official clients, against stand-ins that shuffle, lose and fail rows."""

from dataclasses import replace
from pathlib import Path

import pytest

from distill.core.asking import Terms
from distill.core.batches import collect, give_up, refresh, submit
from distill.core.batches.folder import alone, folders_in, parts
from distill.core.batches.table import open_batches
from distill.core.chat import ScriptedChat
from distill.core.chat.table import open_chat
from distill.core.errors import BadInput, MissingInput, Unavailable
from distill.core.ledger import Ledger, call_key
from distill.core.prices import Price
from distill.dev.fake_gemini import FakeGemini
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from tests.distill.core.asks import ROOM, asks

TEACHERS = {"openai": (FakeOpenAI, "gpt-4o"), "gemini": (FakeGemini, "gemini-2.5-flash")}
PRICE = Price(1.0, 4.0)


@pytest.fixture(autouse=True)
def without_a_key(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GOOGLE_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("GOOGLE_GEMINI_BASE_URL", raising=False)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


@pytest.fixture(params=TEACHERS)
def provider(request):
    return request.param


def serving(provider, **faults):
    return TEACHERS[provider][0](Faults(**faults))


def teacher(provider, server):
    return open_chat(f"{provider}:{TEACHERS[provider][1]}", base_urls=(server.base_url,))


def keys_of(every, chat):
    return {
        one.id: call_key(chat.provider, chat.model, one.messages, one.sampling) for one in every
    }


def replies(every, chat, ledger):
    found = {id: ledger.find(key) for id, key in keys_of(every, chat).items()}
    return {id: reply for id, reply in found.items() if reply}


def only_record(submission):
    assert len(submission.records) == 1
    return submission.records[0]


def test_every_answer_joins_its_own_dialogue_and_the_rest_can_be_submitted_again(
    provider, ledger, tmp_path
):
    every = asks(1000, ROOM)
    with serving(provider, reorder=True, drop=0.05, errors=0.02) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        outcome = collect(refresh(record, ledger), ledger)
        counts = server.counts()
        assert 30 < counts["rows_dropped"] < 70 and 8 < counts["rows_failed"] < 35
        assert len(outcome.missing) == counts["rows_dropped"]
        assert len(outcome.failed) == counts["rows_failed"]
        assert len(outcome.answered) == counts["rows_done"] == counts["answered"]
        parted = [*outcome.answered, *outcome.failed, *outcome.missing]
        assert sorted(parted) == sorted(one.id for one in every)
        assert set(replies(every, chat, ledger)) == set(outcome.answered)

        rounds = 0
        while (again := submit(every, chat, ledger, tmp_path / "batches")).calls:
            assert again.waiting == 0
            collect(only_record(again), ledger)
            rounds += 1
        assert 1 <= rounds < 6
        found = replies(every, chat, ledger)
        assert len(found) == 1000
        assert server.counts()["answered"] == 1000 and server.counts()["repeated"] == 0


def test_the_joined_text_depends_on_its_own_request(provider, ledger, tmp_path):
    """The stand-in's text is decided by the request, so a wrong join would show."""
    every = asks(60, ROOM)
    with serving(provider, reorder=True) as server:
        chat = teacher(provider, server)
        collect(only_record(submit(every, chat, ledger, tmp_path / "batches")), ledger)
        texts = {one.id: chat.reply(one.messages, one.sampling).text for one in every}
    assert len(set(texts.values())) > 20
    assert {id: reply.text for id, reply in replies(every, chat, ledger).items()} == texts


def test_a_batch_that_waits_is_not_submitted_twice(provider, ledger, tmp_path):
    every = asks(6, ROOM)
    with serving(provider, batch_looks=3) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every[:4], chat, ledger, tmp_path / "batches"))
        second = submit(every, chat, ledger, tmp_path / "batches")
        assert (second.calls, second.waiting) == (2, 4)
        assert refresh(record, ledger).state == "waiting"
        with pytest.raises(Unavailable, match="is not done"):
            collect(record, ledger)
        outcome = collect(record, ledger)
        assert outcome.record.state == "collected" and len(outcome.answered) == 4
        assert ledger.batches()[0].state == "collected"
        assert refresh(outcome.record, ledger) == outcome.record


def test_what_the_ledger_holds_is_not_submitted(provider, ledger, tmp_path):
    every = asks(3, ROOM)
    with serving(provider) as server:
        chat = teacher(provider, server)
        collect(only_record(submit(every, chat, ledger, tmp_path / "batches")), ledger)
        assert submit([*every, *every], chat, ledger, tmp_path / "batches").records == []
        assert server.counts()["batches"] == 1


def test_collecting_twice_pays_once(provider, ledger, tmp_path):
    every = asks(5, ROOM)
    with serving(provider) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches", Terms(price=PRICE)))
        first = collect(record, ledger)
        spent = ledger.spent_usd()
        assert spent > 0
        # As after a kill between the last answer and the batch's state.
        ledger.set_batch_state(record.id, "waiting")
        assert collect(record, ledger).answered == first.answered
        assert ledger.spent_usd() == spent


def test_batch_calls_cost_half(provider, ledger, tmp_path):
    every = asks(5, ROOM)
    with serving(provider) as server:
        chat = teacher(provider, server)
        collect(
            only_record(submit(every, chat, ledger, tmp_path / "batches", Terms(price=PRICE))),
            ledger,
        )
    found = replies(every, chat, ledger).values()
    whole = sum(PRICE.cost(reply.prompt_tokens, reply.tokens) for reply in found)
    assert ledger.spent_usd() == pytest.approx(whole / 2)


def test_the_cost_limit_holds_until_a_batch_is_collected(provider, ledger, tmp_path):
    every, terms = asks(10, ROOM), Terms(price=PRICE, max_cost_usd=0.005)
    with serving(provider) as server:
        chat = teacher(provider, server)
        with pytest.raises(Unavailable, match=r"would pass --max-cost 0\.005"):
            submit(asks(50, ROOM), chat, ledger, tmp_path / "batches", terms)
        assert server.counts()["batches"] == 0 and ledger.reserved_usd() == 0
        record = only_record(submit(every, chat, ledger, tmp_path / "batches", terms))
        assert ledger.reserved_usd() > 0
        collect(record, ledger)
        assert ledger.reserved_usd() == 0 < ledger.spent_usd()


def test_a_batch_refused_whole_leaves_every_call_to_be_submitted_again(provider, ledger, tmp_path):
    every = asks(4, ROOM)
    with serving(provider, fail_batch=1) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        assert refresh(record, ledger).state == "failed"
        outcome = collect(record, ledger)
        assert len(outcome.missing) == 4 and not outcome.answered
        assert submit(every, chat, ledger, tmp_path / "batches").calls == 4


def test_blocked_rows_are_paid_and_not_asked_again(provider, ledger, tmp_path):
    every = asks(4, ROOM)
    with serving(provider, block=1) as server:
        chat = teacher(provider, server)
        collect(only_record(submit(every, chat, ledger, tmp_path / "batches")), ledger)
        assert {r.outcome for r in replies(every, chat, ledger).values()} == {"blocked"}
        assert submit(every, chat, ledger, tmp_path / "batches").calls == 0
        anew = Terms(retry_outcomes=True)
        assert submit(every, chat, ledger, tmp_path / "batches", anew).calls == 4


def test_a_batch_whose_record_was_lost_in_a_kill_is_found_again(provider, tmp_path, ledger):
    every = asks(4, ROOM)
    with serving(provider) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        # As after a kill between the submission and the ledger.
        ledger.run("DELETE FROM batches")
        again = submit(every, chat, ledger, tmp_path / "batches")
        assert (again.calls, again.waiting) == (0, 4)
        assert only_record(again).id == record.id and server.counts()["batches"] == 1
        assert len(collect(only_record(again), ledger).answered) == 4


def test_a_batch_that_was_made_while_its_answer_was_lost_is_not_made_twice(
    provider, tmp_path, ledger
):
    every, terms = asks(4, ROOM), Terms(price=PRICE, max_cost_usd=1)
    with serving(provider, lose_batch=1) as server:
        chat = teacher(provider, server)
        with pytest.raises(Unavailable, match="the batch was made"):
            submit(every, chat, ledger, tmp_path / "batches", terms)
        assert ledger.batches() == [] and ledger.reserved_usd() > 0
        again = submit(every, chat, ledger, tmp_path / "batches", terms)
        assert (again.calls, again.waiting, server.counts()["batches"]) == (0, 4, 1)
        assert len(collect(only_record(again), ledger).answered) == 4
        assert ledger.reserved_usd() == 0


def test_files_and_looks_are_tried_again_when_the_service_stumbles(provider, tmp_path, ledger):
    every = asks(4, ROOM)
    with serving(provider, fail_429=0.3, fail_500=0.1, retry_after_ms=1, seed=3) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        assert len(collect(record, ledger).answered) == 4
        assert server.counts()["http_429"] + server.counts()["http_500"] > 0
        assert server.counts()["batches"] == 1


def test_what_was_written_and_never_submitted_is_submitted_anew(provider, tmp_path, ledger):
    every, folder = asks(4, ROOM), tmp_path / "batches"
    with serving(provider) as server:
        chat = teacher(provider, server)
        service = open_batches(provider, chat.model, server.base_url)
        whole = only_record(submit(every, chat, ledger, folder))
        ledger.run("DELETE FROM batches")
        # A folder whose mark no batch carries, and one that was not written to its end.
        Path(whole.folder).rename(folder / "kindred-lost")
        (folder / "kindred-half").mkdir()
        assert service.find("kindred-lost") is None
        again = submit(every, chat, ledger, folder)
        assert again.calls == 4
        assert [str(one.path) for one in folders_in(folder)] == [only_record(again).folder]


def test_another_ledgers_batches_are_left_alone(provider, tmp_path, ledger):
    every, folder = asks(2, ROOM), tmp_path / "batches"
    with serving(provider) as server, Ledger(tmp_path / "other.sqlite") as other:
        chat = teacher(provider, server)
        submit(every, chat, other, folder)
        assert submit(every, chat, ledger, folder).calls == 2
        assert len(folders_in(folder)) == 2


def test_an_expired_openai_batch_keeps_what_was_done(ledger, tmp_path):
    every = asks(40, ROOM)
    with serving("openai", expire=0.5) as server:
        chat = teacher("openai", server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        assert refresh(record, ledger).state == "expired"
        outcome = collect(record, ledger)
        assert 0 < len(outcome.answered) < 40
        assert len(outcome.failed) == 40 - len(outcome.answered)
        assert all("completion window" in why for why in outcome.failed.values())


def test_an_expired_gemini_batch_has_no_answers(ledger, tmp_path):
    every = asks(4, ROOM)
    with serving("gemini", expire=1) as server:
        chat = teacher("gemini", server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        assert refresh(record, ledger).state == "expired"
        assert len(collect(record, ledger).missing) == 4


def test_a_batch_with_an_error_file_alone(ledger, tmp_path):
    every = asks(4, ROOM)
    with serving("openai", errors=1) as server:
        chat = teacher("openai", server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        outcome = collect(record, ledger)
        assert sorted(outcome.failed) == sorted(one.id for one in every)
        assert all(why.startswith("HTTP 500: ") for why in outcome.failed.values())
        assert list(tmp_path.glob("batches/*/output*")) == []
        assert submit(every, chat, ledger, tmp_path / "batches").calls == 4


def test_a_cancelled_batch_leaves_its_calls_missing(provider, ledger, tmp_path):
    every = asks(3, ROOM)
    with serving(provider, batch_looks=9) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        batches = chat.client.batches
        batches.cancel(record.id) if provider == "openai" else batches.cancel(name=record.id)
        assert refresh(record, ledger).state == "cancelled"
        assert len(collect(record, ledger).missing) == 3


def test_a_batch_that_is_gone_can_be_given_up(provider, ledger, tmp_path):
    every = asks(3, ROOM)
    with serving(provider) as server:
        chat = teacher(provider, server)
        record = only_record(submit(every, chat, ledger, tmp_path / "batches"))
        gone = replace(record, id=record.id[:-1] + "9")
        with pytest.raises(BadInput, match="has no such batch or file"):
            refresh(gone, ledger)
        assert len(give_up(record, ledger).missing) == 3
        assert submit(every, chat, ledger, tmp_path / "batches").calls == 3


def test_a_refused_submission_leaves_nothing_behind(provider, ledger, tmp_path):
    with TEACHERS[provider][0](key="right") as server:
        chat = teacher(provider, server)
        terms = Terms(price=PRICE, max_cost_usd=1)
        with pytest.raises(BadInput, match="refused the key"):
            submit(asks(2, ROOM), chat, ledger, tmp_path / "batches", terms)
    assert ledger.reserved_usd() == 0 and folders_in(tmp_path / "batches") == []


def test_two_runs_do_not_submit_at_the_same_time(ledger, tmp_path):
    with (
        serving("openai") as server,
        alone(tmp_path / "batches"),
        pytest.raises(Unavailable, match="another run is submitting"),
    ):
        submit(asks(1), teacher("openai", server), ledger, tmp_path / "batches")


def test_a_provider_without_batches_is_refused(ledger, tmp_path):
    with pytest.raises(BadInput, match="scripted has no batches"):
        submit(asks(1), ScriptedChat(lambda messages: "yes"), ledger, tmp_path)


def test_a_lost_folder_is_named(ledger, tmp_path):
    with serving("openai") as server:
        chat = teacher("openai", server)
        record = only_record(submit(asks(1, ROOM), chat, ledger, tmp_path / "batches"))
        (Path(record.folder) / "calls.jsonl").unlink()
        with pytest.raises(MissingInput, match=r"calls\.jsonl does not exist"):
            collect(record, ledger)


def test_parts_stay_within_rows_and_bytes():
    rows = [(str(n), one, {"text": "é" * n}) for n, one in enumerate(asks(10))]
    assert [len(part.rows) for part in parts(rows, max_rows=4)] == [4, 4, 2]
    by_size = list(parts(rows, max_bytes=40))
    assert "".join(r for p in by_size for r in p.rows) == "".join(next(parts(rows)).rows)
    assert all(len("".join(p.rows).encode()) <= 40 or len(p.rows) == 1 for p in by_size)
    assert [key for part in by_size for key, _ in part.asks] == [key for key, *_ in rows]
