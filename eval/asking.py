"""Before judges are asked: what it would cost, or a batch for later.

In: pairs, judges, the journal of what is known. Out: the outcome of a command that asks nothing
now, or None where every answer is there. Nothing is refused here.
"""

from collections.abc import Sequence
from typing import Any

from distill.core.command import Outcome
from distill.core.journal import Journal
from distill.core.records import Judgement
from eval.judges.chat import ChatJudge
from eval.judges.seam import Call, Judge
from eval.judging import Order, Pair, missing

Couples = Sequence[Sequence[Pair]]


def wanted(couples: Couples, judge: Judge, journal: Journal[Judgement], order: Order) -> list[Call]:
    return [call for pairs in couples for call in missing(pairs, judge, journal, order)]


def counted(
    couples: Couples, judges: Sequence[Judge], journal: Journal[Judgement], order: Order = "both"
) -> Outcome:
    """Calls, tokens and dollars of every judge that is paid; the others cost nothing."""
    found: dict[str, Any] = {}
    lines = []
    for judge in judges:
        calls = wanted(couples, judge, journal, order)
        if isinstance(judge, ChatJudge):
            plan = judge.plan(calls)
            found[judge.name] = vars(plan) | {"price": vars(plan.price) if plan.price else None}
            lines += [f"{judge.name}:", *plan.lines()]
        else:
            found[judge.name] = {"calls": len(calls), "expected_usd": 0.0, "worst_usd": 0.0}
            lines.append(f"{judge.name}: {len(calls)} verdicts to give, at no cost")
    return Outcome({"dry_run": True, "judges": found}, lines)


def submitted(
    couples: Couples, judges: Sequence[Judge], journal: Journal[Judgement], order: Order = "both"
) -> Outcome | None:
    """Submit what no ledger holds; None when nothing is on its way."""
    sent = {
        judge.name: judge.submit(wanted(couples, judge, journal, order))
        for judge in judges
        if isinstance(judge, ChatJudge)
    }
    if not any(one.calls or one.waiting for one in sent.values()):
        return None
    data = {
        name: {"submitted": [r.id for r in one.records], "calls": one.calls, "waiting": one.waiting}
        for name, one in sent.items()
    }
    lines = [
        f"{name}: {one.calls} calls submitted, {one.waiting} on their way already"
        for name, one in sent.items()
    ]
    return Outcome(
        {"judges": data}, [*lines, "nothing was judged yet: run the command again later"]
    )
