"""Twenty dialogues with all replies, chosen by a rule that nobody can bend; then those to doubt.

In: evidence. Out: two sections. The rule of the first: of the held-out dialogues that every
candidate answered, the twenty whose id has the smallest sha256. The second: by the same order, the
pairs whose verdict changed with the order, on which judges disagree, and that the student lost.
"""

from collections.abc import Iterator

from distill.core.jsonl import digest_text
from distill.core.records import Judgement
from eval.pages.evidence import Evidence
from eval.pages.judged import Decided, Verdicts
from eval.pages.page import Reply, Sample, Section
from eval.pages.wording import count
from eval.statistics import Outcome

SHOWN, DOUBTED = 20, 5
LONGEST = 400  # characters of what a judge said
RULE = (
    "Not picked: of the held-out dialogues that were answered, these are the {count} whose id has "
    "the smallest sha256."
)


def dialogues(found: Evidence) -> Section:
    title = "Sample dialogues"
    if missing := what_is_missing(found):
        return Section("dialogues", title, absent=f"Not shown: {missing} is not there.")
    verdicts = Verdicts(found)
    shown = [sample(found, name, verdicts) for name in common(found)[:SHOWN]]
    rule = RULE.format(count=len(shown))
    return Section("dialogues", title, beside=[rule], samples=shown)


def doubts(found: Evidence) -> Section | None:
    """The verdicts to read before believing the rate; None where there are none to read."""
    if what_is_missing(found) or not found.winrate or not found.judgements or not found.base:
        return None
    verdicts = Verdicts(found)
    ends = {name: verdicts.on(name) for name in common(found)}
    kinds = {
        "changed with the order": [n for n, e in ends.items() if flipped(e)],
        "split the judges": [n for n, e in ends.items() if disputed(e)],
        f"went to {found.base.candidate}": [
            n for n, e in ends.items() if e and verdicts.outcome(e) == "loss"
        ],
    }
    said = [f"{count(len(names), 'pair')} {what}." for what, names in kinds.items() if names]
    chosen = dict.fromkeys(name for names in kinds.values() for name in names[:DOUBTED])
    if not chosen:
        return None
    shown = [sample(found, name, verdicts, told=True) for name in chosen]
    rule = f"Shown are at most {DOUBTED} of each, by the smallest sha256 of their id."
    return Section("doubts", "Verdicts to read", beside=[*said, rule], samples=shown)


def what_is_missing(found: Evidence) -> str | None:
    if not found.candidates:
        return "answers/*.jsonl"
    return None if found.dialogues else "sets/test.jsonl"


def common(found: Evidence) -> list[str]:
    """Ids by digest, of the dialogues that every candidate answered."""
    answered = (side.answers for side in found.candidates)
    return sorted(set(found.dialogues).intersection(*answered), key=digest_text)


def flipped(decided: list[Decided]) -> bool:
    return any(one.outcome == "flip" for one in decided)


def disputed(decided: list[Decided]) -> bool:
    """Two judges decided, and for different sides."""
    return {"win", "loss"} <= {one.outcome for one in decided}


def sample(found: Evidence, name: str, verdicts: Verdicts, *, told: bool = False) -> Sample:
    replies = []
    for side in found.candidates:
        answer = side.answers[name]
        cut = "" if answer.finish_reason == "stop" else f"cut off ({answer.finish_reason})"
        replies.append(Reply(side.candidate, answer.text, cut))
    decided = verdicts.on(name)
    notes = list(reasons(found, decided)) if told else []
    turns = found.dialogues[name].turns
    return Sample(name, turns, replies, verdict_on(found, decided, verdicts), notes)


def verdict_on(found: Evidence, decided: list[Decided], verdicts: Verdicts) -> str:
    """How the judge decided this pair, in words."""
    if found.winrate is None or not found.student or not found.base:
        return "not judged"
    if not decided:
        return "equal texts: a tie"
    names = found.student.candidate, found.base.candidate
    return worded(verdicts.outcome(decided), *names)


def worded(outcome: Outcome, mine: str, theirs: str) -> str:
    said: dict[Outcome, str] = {
        "win": f"judged better: {mine}",
        "loss": f"judged better: {theirs}",
        "tie": "judged equally good",
        "flip": "undecided: the verdict changed with the order",
        "split": "undecided: no majority of the judges",
        "unreadable": "undecided: no readable verdict",
        "failed": "not judged",
    }
    return said[outcome]


def reasons(found: Evidence, decided: list[Decided]) -> Iterator[str]:
    """What each judge said, in the order in which the replies were shown to it."""
    assert found.student and found.base
    names = found.student.candidate, found.base.candidate
    for one in decided:
        for judgement, order in ((one.straight, names), (one.swapped, names[::-1])):
            if judgement:
                yield f"{one.judge}, {order[0]} shown first: {chosen_by(judgement, order)}"


def chosen_by(judgement: Judgement, order: tuple[str, str]) -> str:
    sides = {"first": order[0], "second": order[1]}
    side = sides.get(judgement.verdict.side, judgement.verdict.side)
    raw = " ".join(judgement.raw.split())
    cut = raw if len(raw) <= LONGEST else raw[:LONGEST].rsplit(" ", 1)[0] + " …"
    return f"{side} ({cut})" if cut else side
