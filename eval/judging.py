"""Judge pairs of answers in both orders, and write each verdict down as it comes.

In: dialogues, two answer files, a judge, a journal. Out: the outcome of every pair. A verdict in
the journal is never asked for again; a call that failed is never written, so it is asked again
by the next run. An endpoint that fails `PATIENCE` times in a row stops the run (Unavailable).
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field

from distill.core.chat import RefusedRequest
from distill.core.errors import Unavailable
from distill.core.journal import Journal
from distill.core.jsonl import digest_text
from distill.core.progress import track
from distill.core.records import Answer, Dialogue, Judgement, Verdict
from eval.judges import Judge
from eval.statistics import Outcome, outcome_of

PATIENCE = 5
Key = tuple[str, ...]


@dataclass(frozen=True)
class Call:
    """One pair in one order."""

    dialogue: Dialogue
    first: Answer
    second: Answer

    def key(self, judge: Judge) -> Key:
        pair = label(self.first), label(self.second)
        return (judge.name, judge.rubric_digest, self.dialogue.id, *pair)


@dataclass
class Judged:
    """What a run found, by dialogue id, and what it cost."""

    outcomes: dict[str, Outcome] = field(default_factory=dict)
    judgements: list[Judgement] = field(default_factory=list)
    identical: int = 0
    asked: int = 0
    failures: list[str] = field(default_factory=list)


def label(answer: Answer) -> str:
    """A candidate and what it said, so that a changed answer is judged anew."""
    return f"{answer.candidate}:{digest_text(answer.text)[:12]}"


def judge_pairs(
    pairs: Iterable[tuple[Dialogue, Answer, Answer]],
    judge: Judge,
    journal: Journal[Judgement],
    concurrency: int,
) -> Judged:
    """Ask for what the journal does not hold; equal texts are a tie without a call."""
    judged = Judged()
    kept: list[tuple[Dialogue, Call, Call]] = []
    for dialogue, a, b in pairs:
        if a.text.strip() == b.text.strip():
            judged.outcomes[dialogue.id] = "tie"
            judged.identical += 1
        else:
            kept.append((dialogue, Call(dialogue, a, b), Call(dialogue, b, a)))
    held = {key_of(judgement): judgement for judgement in journal.records}
    wanted = [call for _, *both in kept for call in both if call.key(judge) not in held]
    ask(wanted, judge, journal, concurrency, judged)
    held = {key_of(judgement): judgement for judgement in journal.records}
    for dialogue, straight, swapped in kept:
        found = [held.get(call.key(judge)) for call in (straight, swapped)]
        verdicts = [judgement.verdict if judgement else None for judgement in found]
        judged.outcomes[dialogue.id] = outcome_of(*verdicts)
        judged.judgements += [judgement for judgement in found if judgement]
    return judged


def ask(
    calls: list[Call], judge: Judge, journal: Journal[Judgement], concurrency: int, judged: Judged
) -> None:
    """Make the calls; one that fails is counted, and several in a row end the run."""
    row = 0
    with ThreadPoolExecutor(concurrency if judge.parallel else 1) as pool:
        futures = [pool.submit(decide, call, judge, journal) for call in calls]
        try:
            for future in track(as_completed(futures), f"judging ({judge.name})", len(futures)):
                judged.asked += 1
                try:
                    future.result()
                    row = 0
                except (RefusedRequest, Unavailable) as error:
                    judged.failures.append(str(error))
                    row += 1
                if row >= min(PATIENCE, len(calls)):
                    raise Unavailable(stopped(journal, judged.failures))
        finally:
            # Calls under way are paid for: the pool waits for them, and they are written down.
            pool.shutdown(wait=True, cancel_futures=True)


def decide(call: Call, judge: Judge, journal: Journal[Judgement]) -> None:
    opinion = judge.compare(call.dialogue.messages(), call.first.text, call.second.text)
    journal.append(
        Judgement(
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
    )


def key_of(judgement: Judgement) -> Key:
    pair = judgement.first, judgement.second
    return (judgement.judge, judgement.rubric_digest, judgement.dialogue_id, *pair)


def stopped(journal: Journal[Judgement], failures: list[str]) -> str:
    return (
        f"{failures[-1]}; stopped after {len(failures)} failed calls, {len(journal.records)} "
        f"verdicts are kept in {journal.path}: run the same command again to continue"
    )
