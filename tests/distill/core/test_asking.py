"""Many questions, each asked once, within limits."""

import itertools
import threading

import pytest

from distill.core.asking import Terms, ask_all, plan, shard
from distill.core.chat import RefusedRequest, Sampling, ScriptedChat
from distill.core.errors import BadInput, Unavailable
from distill.core.ledger import Ledger
from distill.core.prices import Price
from tests.distill.core.asks import GatedChat, ask, asks

PRICE = Price(0.0, 1e6)  # a dollar a token, so that a worst case is `max_tokens` dollars
ONE = Terms(concurrency=1)


@pytest.fixture
def ledger(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as opened:
        yield opened


def upper(messages):
    return messages[-1]["content"].upper()


def failing(*broken, error=Unavailable):
    def script(messages):
        if messages[-1]["content"] in broken:
            raise error(f"no answer to {messages[-1]['content']}")
        return upper(messages)

    return ScriptedChat(script)


def test_every_ask_is_answered_once_and_joined_by_its_id(ledger):
    chat = ScriptedChat(upper)
    found = {one.ask.id: one.reply.text for one in ask_all(asks(9), chat, ledger, Terms(3))}
    assert found == {f"question {n}": f"QUESTION {n}" for n in range(9)}
    assert len(chat.asked) == 9


def test_a_second_run_takes_everything_from_the_ledger(ledger):
    list(ask_all(asks(5), ScriptedChat(upper), ledger, Terms()))
    chat = ScriptedChat(upper)
    again = list(ask_all(asks(6), chat, ledger, Terms()))
    assert len(chat.asked) == 1
    assert sorted(one.from_ledger for one in again) == [False, *[True] * 5]


def test_equal_questions_under_way_are_one_call(ledger):
    chat = GatedChat()
    both = ask_all([ask("same", "a"), ask("same", "b")], chat, ledger, Terms())
    chat.gate.set()
    found = list(both)
    assert len(chat.asked) == 1
    assert {(one.ask.id, one.from_ledger) for one in found} == {("a", False), ("b", True)}


def test_no_more_calls_run_at_once_than_agreed_and_few_asks_are_held(ledger):
    chat, taken = GatedChat(), []
    source = (taken.append(one) or one for one in asks(40))
    answers = ask_all(source, chat, ledger, Terms(concurrency=3))
    consumer = threading.Thread(target=lambda: taken.append(list(answers)))
    consumer.start()
    for _ in range(3):
        chat.entered.acquire()
    assert len(taken) <= 7
    chat.gate.set()
    consumer.join()
    assert chat.most_inside == 3 and len(chat.asked) == 40


@pytest.mark.parametrize("error", [Unavailable, RefusedRequest])
def test_a_failed_call_is_told_and_never_stored(ledger, error):
    found = list(ask_all(asks(3), failing("question 1", error=error), ledger, ONE))
    assert [one.failure for one in found] == [None, "no answer to question 1", None]
    assert ledger.counts() == {"answered": 2}
    assert len(list(ask_all(asks(3), chat := ScriptedChat(upper), ledger, ONE))) == 3
    assert len(chat.asked) == 1


def test_failures_in_a_row_stop_the_run_with_a_line_that_says_how_to_go_on(ledger):
    chat = failing(*(f"question {n}" for n in range(2, 9)))
    with pytest.raises(Unavailable, match=r"3 failed calls in a row; 2 finished .*same command"):
        list(ask_all(asks(9), chat, ledger, Terms(concurrency=1, patience=3)))
    assert len(chat.asked) < 9


def test_a_success_between_failures_restores_patience(ledger):
    chat = failing(*(f"question {n}" for n in (0, 1, 3, 4, 6, 7)))
    found = list(ask_all(asks(9), chat, ledger, Terms(concurrency=1, patience=3)))
    assert sum(one.failure is not None for one in found) == 6


def test_a_wrong_key_ends_the_run_at_once(ledger):
    with pytest.raises(BadInput, match="no answer"):
        list(ask_all(asks(9), failing("question 0", error=BadInput), ledger, ONE))


def test_a_ledger_that_cannot_be_written_ends_the_run_at_once(ledger):
    chat = ScriptedChat(upper)
    answers = ask_all(asks(9), chat, ledger, ONE)
    next(answers)
    ledger.database.execute("PRAGMA query_only = ON")
    with pytest.raises(Unavailable, match="cannot be written now"):
        list(answers)
    assert len(chat.asked) <= 4


def test_what_flies_when_the_reader_leaves_is_stored(ledger):
    chat = GatedChat()
    answers = ask_all(asks(9), chat, ledger, Terms(concurrency=2))
    opener = threading.Thread(target=lambda: [chat.entered.acquire(), chat.gate.set()])
    opener.start()
    next(answers)
    answers.close()
    opener.join()
    assert ledger.counts()["answered"] == len(chat.asked) < 9


def test_the_cost_limit_is_never_passed(ledger):
    chat = ScriptedChat(lambda messages: "four words of text")
    terms = Terms(concurrency=4, max_cost_usd=59.0, price=PRICE)
    with pytest.raises(Unavailable, match=r"--max-cost 59 .*finished calls are kept"):
        list(ask_all(asks(40), chat, ledger, terms))
    # Four dollars each, and twenty in the worst case: after ten calls, 40 + 20 would be too much.
    assert len(chat.asked) == 10 and ledger.spent_usd() == 40.0
    assert ledger.reserved_usd() == 0.0
    with pytest.raises(Unavailable, match="--max-cost"):
        list(ask_all(asks(40), chat, ledger, terms))
    assert len(chat.asked) == 10


def test_calls_under_way_count_with_their_worst_case(ledger):
    chat = GatedChat()
    terms = Terms(concurrency=8, max_cost_usd=45.0, price=PRICE)
    answers = ask_all(asks(3), chat, ledger, terms)
    reader = threading.Thread(target=lambda: list(answers))
    reader.start()
    chat.entered.acquire()
    chat.entered.acquire()
    assert not chat.entered.acquire(blocking=False) and ledger.reserved_usd() == 40.0
    chat.gate.set()
    reader.join()
    assert len(chat.asked) == 3


def test_what_a_killed_run_had_set_aside_may_have_been_paid(ledger):
    assert ledger.reserve(40.0, within_usd=100.0) is not None
    chat = ScriptedChat(upper)
    with pytest.raises(Unavailable, match=r"40\.0000 set aside by calls elsewhere or killed"):
        list(ask_all(asks(1), chat, ledger, Terms(max_cost_usd=59.0, price=PRICE)))
    assert chat.asked == []


def test_a_failed_call_gives_its_money_back(ledger):
    terms = Terms(concurrency=1, max_cost_usd=50.0, price=PRICE)
    list(ask_all(asks(4), failing(*(f"question {n}" for n in range(4))), ledger, terms))
    assert ledger.reserved_usd() == ledger.spent_usd() == 0.0


def test_a_limit_on_an_unknown_price_is_refused_before_anything_is_asked(ledger):
    chat = ScriptedChat(upper, provider="openai", name="somebody/7b")
    with pytest.raises(BadInput, match="--price IN,OUT"):
        ask_all(asks(1), chat, ledger, Terms(max_cost_usd=1.0))
    assert len(list(ask_all(asks(1), chat, ledger, Terms()))) == 1


def test_no_concurrency_is_refused(ledger):
    with pytest.raises(BadInput, match="--concurrency 0"):
        ask_all(asks(1), ScriptedChat(upper), ledger, Terms(concurrency=0))


def test_a_blocked_call_is_not_asked_again_unless_wanted(ledger):
    blocked = ScriptedChat(lambda messages: "", finish_reason="content_filter")
    (first,) = ask_all(asks(1), blocked, ledger, ONE)
    (second,) = ask_all(asks(1), blocked, ledger, ONE)
    assert first.reply.outcome == second.reply.outcome == "blocked" and len(blocked.asked) == 1
    (third,) = ask_all(asks(1), ScriptedChat(upper), ledger, Terms(retry_outcomes=True))
    assert third.reply.outcome == "answered"
    assert ledger.counts() == {"answered": 1}


def test_a_plan_counts_and_asks_nothing(ledger):
    chat = ScriptedChat(upper)
    list(ask_all(asks(2), chat, ledger, Terms()))
    found = plan([*asks(5), *asks(5)], chat, ledger, Terms(price=PRICE))
    assert (found.calls, found.in_ledger) == (3, 7) and len(chat.asked) == 2
    assert (found.output_tokens, found.expected_usd, found.worst_usd) == (6, 6.0, 60.0)
    assert "3 to make, 7 in the ledger" in found.lines()[0]


def test_a_plan_without_a_price_says_that_the_cost_is_not_known(ledger):
    chat = ScriptedChat(upper, provider="openai", name="somebody/7b")
    found = plan([ask("a", sampling=Sampling(max_tokens=100))], chat, ledger, Terms())
    assert found.worst_usd is None and found.output_tokens == 50
    assert any("not known" in line for line in found.lines())


def test_shards_are_stable_and_make_the_whole():
    ids = [f"d{number}" for number in range(200)]
    parts = [list(shard(ids, f"{part}/3", str)) for part in (1, 2, 3)]
    assert sorted(itertools.chain(*parts)) == sorted(ids)
    assert all(40 < len(part) < 95 for part in parts)
    assert list(shard(reversed(ids), "2/3", str)) == parts[1][::-1]
    assert list(shard(ids, None, str)) == ids


@pytest.mark.parametrize("spec", ["0/3", "4/3", "1", "a/b", "1/0", "-1/2", "1/2/3", ""])
def test_what_is_no_shard_is_refused(spec):
    with pytest.raises(BadInput, match="--shard"):
        shard(["a"], spec, str)
