"""Judge pairs of answers, and write each verdict down as it comes.

In: dialogues, two answer files, a judge, a journal. Out: the outcome of every pair. A verdict in
the journal is never asked for again; a call that failed is never written, so it is asked again
by the next run. An endpoint that fails several times in a row stops the run (Unavailable).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from distill.core.journal import Journal
from distill.core.progress import track
from distill.core.records import Answer, Dialogue, Judgement, Verdict
from eval.judges.seam import Call, Decision, Judge, Key, label
from eval.statistics import Outcome, outcome_of, outcome_of_one

Pair = tuple[Dialogue, Answer, Answer]
Order = Literal["both", "first"]
__all__ = ["Call", "Judged", "Order", "Pair", "judge_pairs", "label", "missing"]


@dataclass
class Judged:
    """What a run found, by dialogue id, and what it cost."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)
    identical: int = 0
    asked: int = 0
    failures: list[str] = field(default_factory=list)


def calls_of(pairs: Iterable[Pair], order: Order) -> list[Call]:
    """Each pair in both orders, or as it stands; equal texts need no call."""
    calls = []
    for dialogue, a, b in pairs:
        if not same(a, b):
            calls.append(Call(dialogue, a, b))
            if order == "both":
                calls.append(Call(dialogue, b, a))
    return calls


def same(a: Answer, b: Answer) -> bool:
    return a.text.strip() == b.text.strip()


def missing(
    pairs: Iterable[Pair], judge: Judge, journal: Journal[Judgement], order: Order = "both"
) -> list[Call]:
    """The calls whose verdict is not written down yet."""
    held = {key_of(judgement) for judgement in journal.records}
    return [call for call in calls_of(pairs, order) if call.key(judge) not in held]


def judge_pairs(
    pairs: Sequence[Pair], judge: Judge, journal: Journal[Judgement], order: Order = "both"
) -> Judged:
    """Ask for what the journal does not hold; equal texts are a tie without a call."""
    judged = Judged()
    ask(missing(pairs, judge, journal, order), judge, journal, judged)
    held = {key_of(judgement): judgement for judgement in journal.records}
    for pair in pairs:
        judged.outcomes[pair[0].id] = ending(pair, judge, held, order, judged)
    return judged


def ending(
    pair: Pair, judge: Judge, held: Mapping[Key, Judgement], order: Order, judged: Judged
) -> Outcome:
    if same(*pair[1:]):
        judged.identical += 1
        return "tie"
    found = [held.get(call.key(judge)) for call in calls_of([pair], order)]
    judged.judgements += [judgement for judgement in found if judgement]
    verdicts = [judgement.verdict if judgement else None for judgement in found]
    return outcome_of(*verdicts) if order == "both" else outcome_of_one(*verdicts)


def ask(calls: list[Call], judge: Judge, journal: Journal[Judgement], judged: Judged) -> None:
    """Write every opinion down; a call that failed is counted and not written."""
    for decision in track(judge.decide(calls), f"judging ({judge.name})", len(calls)):
        judged.asked += decision.paid or decision.failure is not None
        if decision.opinion:
            journal.append(judgement_of(decision, judge))
        else:
            judged.failures.append(decision.failure or "no reason given")


def judgement_of(decision: Decision, judge: Judge) -> Judgement:
    call, opinion = decision.call, decision.opinion
    assert opinion
    return Judgement(
        dialogue_id=call.dialogue.id,
        judge=judge.name,
        judge_version=opinion.version,
        rubric=judge.rubric,
        rubric_digest=judge.rubric_digest,
        first=label(call.first),
        second=label(call.second),
        verdict=Verdict(side=opinion.side),
        raw=opinion.raw,
    )


def key_of(judgement: Judgement) -> Key:
    pair = judgement.first, judgement.second
    return (judgement.judge, judgement.rubric_digest, judgement.dialogue_id, *pair)
