"""A run that is killed and started again: nothing is lost, and next to nothing is paid twice."""

import random

from distill.core.asking import Terms, ask_all
from distill.core.chat.table import open_chat
from distill.core.ledger import Ledger
from distill.dev.fake_openai import FakeOpenAI
from distill.dev.faults import Faults
from tests.distill.core.asks import ROOM, asks
from tests.distill.core.killing import Killing


def test_kills_at_random_moments_lose_nothing_and_repeat_only_what_was_in_flight(tmp_path):
    moments = random.Random(4)
    with FakeOpenAI(Faults(latency_ms=20)) as server:
        run = Killing(server, tmp_path / "ledger.sqlite", count=60, concurrency=4)
        for _ in range(4):
            assert run.kill_after(moments.randint(1, 12))
        answers, counts = run.finish(), server.counts()
        chat = open_chat("openai:gpt-4o", base_urls=[server.base_url])
        with Ledger(run.ledger) as ledger:
            held = list(ask_all(asks(60, ROOM), chat, ledger, Terms()))
        assert server.counts() == counts
    assert counts["distinct"] == 60 and counts["repeated"] <= 4 * 4
    assert run.missing() == 0 and all(one.from_ledger for one in held)
    assert answers == {one.ask.id: one.reply.text for one in held}
    assert set(answers) == {one.id for one in asks(60)}
