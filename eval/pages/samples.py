"""Ten dialogues with both replies, chosen by a rule that nobody can bend.

In: evidence. Out: a section. The rule: of the held-out dialogues that were answered, the ten whose
id has the smallest sha256.
"""

from distill.core.jsonl import digest_text
from eval.held_out import AnswerFile
from eval.judging import label
from eval.pages.comparison import candidates
from eval.pages.evidence import Evidence
from eval.pages.page import Reply, Sample, Section
from eval.statistics import Outcome, outcome_of

SHOWN = 10
RULE = (
    "Not picked: of the held-out dialogues that were answered, these are the {count} whose id has "
    "the smallest sha256."
)


def dialogues(found: Evidence) -> Section:
    title = "Sample dialogues"
    sides = candidates(found)
    missing = "answers/*.jsonl" if not sides else "sets/test.jsonl" if not found.dialogues else None
    if missing:
        said = f"Not shown: {missing} is not there."
        return Section("dialogues", title, absent=said)
    ids = chosen(found, sides)
    shown = [sample(found, name, sides) for name in ids]
    rule = RULE.format(count=len(shown))
    return Section("dialogues", title, beside=[rule], samples=shown)


def chosen(found: Evidence, sides: list[AnswerFile]) -> list[str]:
    """Ids by digest, of the dialogues that every candidate answered."""
    common = set(found.dialogues).intersection(*(side.answers for side in sides))
    return sorted(common, key=digest_text)[:SHOWN]


def sample(found: Evidence, name: str, sides: list[AnswerFile]) -> Sample:
    replies = []
    for side in sides:
        answer = side.answers[name]
        cut = "" if answer.finish_reason == "stop" else f"cut off ({answer.finish_reason})"
        replies.append(Reply(side.candidate, answer.text, cut))
    turns = found.dialogues[name].turns
    return Sample(name, turns, replies, verdict_on(found, name, sides))


def verdict_on(found: Evidence, name: str, sides: list[AnswerFile]) -> str:
    """How the judge decided this pair, in words."""
    if found.winrate is None or len(sides) < 2:
        return "not judged"
    mine, theirs = (side.answers[name] for side in sides)
    if mine.text.strip() == theirs.text.strip():
        return "equal texts: a tie"
    judge = found.winrate.get("judge"), found.winrate.get("rubric_digest")
    held = {
        (one.first, one.second): one
        for one in found.judgements
        if one.dialogue_id == name and (one.judge, one.rubric_digest) == judge
    }
    pair = label(mine), label(theirs)
    straight, swapped = held.get(pair), held.get(pair[::-1])
    if straight is None or swapped is None:
        return "not judged"
    return worded(outcome_of(straight.verdict, swapped.verdict), mine.candidate, theirs.candidate)


def worded(outcome: Outcome, mine: str, theirs: str) -> str:
    said: dict[Outcome, str] = {
        "win": f"judged better: {mine}",
        "loss": f"judged better: {theirs}",
        "tie": "judged equally good",
        "flip": "undecided: the verdict changed with the order",
        "unreadable": "undecided: no readable verdict",
        "failed": "not judged",
    }
    return said[outcome]
