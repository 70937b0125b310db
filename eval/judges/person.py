"""Votes that people gave on the page of `distill demo`, read from the run's folder.

In: `judgements.jsonl` in the folder of the run. Out: each vote, and its mirror image for the other
order. Refused: a folder without votes (MissingInput), votes on several questions (BadInput). A
pair on which nobody voted is a failed call, and in no rate.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Judgement
from eval.judges.options import JudgeOptions
from eval.judges.seam import Call, Decision, Opinion, label

NAME = "person"
UNVOTED = "nobody voted on this pair"
MIRRORED = "the same vote, mirrored"


class PersonJudge:
    """Says what a person said, who saw both replies at once; it asks nobody."""

    name = NAME
    agreement_note = (
        "a person's own votes, names hidden and sides drawn by lot; both replies were seen at "
        "once, so there is one vote a pair and no flip"
    )

    def __init__(self, votes: Sequence[Judgement]) -> None:
        self.rubric, self.rubric_digest = votes[0].rubric, votes[0].rubric_digest
        self._votes = {(one.dialogue_id, one.first, one.second): one for one in votes}

    def decide(self, calls: Iterable[Call]) -> Iterator[Decision]:
        """The vote on each pair, as it was given or mirrored."""
        for call in calls:
            shown = label(call.first), label(call.second)
            if vote := self._votes.get((call.dialogue.id, *shown)):
                yield Decision(call, Opinion(vote.verdict.side, vote.raw, vote.judge_version))
            elif vote := self._votes.get((call.dialogue.id, *shown[::-1])):
                side = vote.verdict.swapped().side
                yield Decision(call, Opinion(side, MIRRORED, vote.judge_version))
            else:
                yield Decision(call, None, UNVOTED)


def opened(spec: str, asked: JudgeOptions, out: Path, ties: bool) -> PersonJudge:
    path = out / "judgements.jsonl"
    held = read_jsonl(path, Judgement) if path.exists() else []
    votes = [one for one in held if one.judge == NAME]
    if not votes:
        raise MissingInput(
            f"{path} holds no votes of a person; give them on the page of: distill demo chat A B"
        )
    if len({one.rubric_digest for one in votes}) > 1:
        raise BadInput(f"{path} holds votes on several questions; count each by itself")
    return PersonJudge(votes)
