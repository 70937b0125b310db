"""A blind comparison of two files by a person: rounds, votes, a tally, and the files of a vote.

In: a prompt, two replies, a vote. Out: new values; on request a folder laid out like a run's
(`sets/test.jsonl`, `answers/NAME.jsonl`, `judged/judgements.jsonl`), which the commands of
`distill eval` read. Refused: a folder that holds another pair's votes (BadInput).
"""

import uuid
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from random import SystemRandom
from typing import Any, Literal

from demo.hearing import Heard
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, read_jsonl, write_jsonl
from distill.core.records import Answer, Dialogue, Judgement, Record, Turn, Verdict

Vote = Literal["left", "right", "tie"]
JUDGE, RUBRIC = "person", "blind-vote"
QUESTION = "Which reply would you rather get?"


@dataclass(frozen=True)
class Candidate:
    """A file by the name that is shown after the vote, and its digest."""

    name: str
    sha256: str


@dataclass(frozen=True)
class Round:
    """One prompt and both replies, in the order of the candidates; `mirrored` swaps the sides."""

    id: str
    prompt: str
    mirrored: bool
    replies: tuple[Heard, Heard] = (Heard(), Heard())
    vote: Vote | None = None

    @property
    def sides(self) -> tuple[int, int]:
        """Which candidate stands left, which right."""
        return (1, 0) if self.mirrored else (0, 1)

    @property
    def winner(self) -> int | None:
        """The candidate that was preferred; None for a tie or no vote."""
        if self.vote in (None, "tie"):
            return None
        return self.sides[0 if self.vote == "left" else 1]

    @property
    def helped(self) -> bool:
        """The guard spoke before the models did, in the same words for both."""
        return any(heard.help for heard in self.replies)

    @property
    def votable(self) -> bool:
        """Both replies hold a model's words alone, and nobody has voted.

        As `distill eval` judges files without their guard, no block of help is ever judged.
        """
        words = all(heard.text.strip() for heard in self.replies)
        return self.vote is None and words and not self.helped


def new_round(prompt: str) -> Round:
    """Sides are drawn by lot, by the machine's own source of chance."""
    return Round(uuid.uuid4().hex, prompt, SystemRandom().random() < 0.5)


@dataclass(frozen=True)
class Ballot:
    """The rounds of one page; the last may still be without a vote."""

    rounds: tuple[Round, ...] = ()

    @property
    def open(self) -> Round | None:
        return self.rounds[-1] if self.rounds and self.rounds[-1].vote is None else None

    @property
    def voted(self) -> list[Round]:
        return [one for one in self.rounds if one.vote]

    def with_round(self, latest: Round) -> "Ballot":
        """One more round, or the next state of the last; a round nobody voted on is dropped."""
        kept = self.rounds[:-1] if self.open else self.rounds
        return Ballot((*kept, latest))

    def voting(self, vote: Vote) -> "Ballot":
        assert self.open and self.open.votable
        return self.with_round(replace(self.open, vote=vote))

    def counts(self) -> tuple[int, int, int]:
        """Votes for the first candidate, for the second, and ties."""
        found = Counter("tie" if one.vote == "tie" else one.winner for one in self.voted)
        return found[0], found[1], found["tie"]


def interval(wins: int, losses: int) -> tuple[float, float]:
    """Jeffreys' 95 % interval of a rate: quantiles of Beta(wins + 1/2, losses + 1/2)."""
    from scipy.special import betaincinv

    low, high = betaincinv(wins + 0.5, losses + 0.5, [0.025, 0.975])
    return (float(low) if wins else 0.0, float(high) if losses else 1.0)


def save(ballot: Ballot, pair: tuple[Candidate, Candidate], folder: Path) -> int:
    """Add the votes to the folder's files, each once; how many votes they hold then."""
    dialogues = merged(folder / "sets/test.jsonl", map(dialogue, ballot.voted), "id")
    for place, candidate in enumerate(pair):
        path = folder / "answers" / f"{candidate.name}.jsonl"
        refuse_another(path, candidate)
        mine = (answer(one, place, candidate) for one in ballot.voted)
        merged(path, mine, "dialogue_id")
    verdicts = (judgement(one, pair) for one in ballot.voted)
    merged(folder / "judged/judgements.jsonl", verdicts, "dialogue_id")
    return dialogues


def merged(path: Path, records: Iterable[Record], key: str) -> int:
    """Write the records that the file lacks after those it has; how many it holds then."""
    new = list(records)
    held: list[Any] = read_jsonl(path, type(new[0])) if path.exists() else []
    known = {getattr(one, key) for one in held}
    return write_jsonl(path, [*held, *(one for one in new if getattr(one, key) not in known)])


def refuse_another(path: Path, candidate: Candidate) -> None:
    held = {one.artifact_sha256 for one in read_jsonl(path, Answer)} if path.exists() else set()
    if held - {candidate.sha256}:
        raise BadInput(f"{path} holds answers of another file; choose another folder with --votes")


def dialogue(one: Round) -> Dialogue:
    turns = [Turn(role="user", content=one.prompt)]
    return Dialogue(id=one.id, source="demo", turns=turns, split="test")


def answer(one: Round, place: int, candidate: Candidate) -> Answer:
    heard = one.replies[place]
    return Answer(
        dialogue_id=one.id,
        candidate=candidate.name,
        text=heard.text.strip(),
        artifact_sha256=candidate.sha256,
        first_token_s=heard.first_token_s or 0.0,
        tokens_per_s=heard.tokens_per_s,
        tokens=heard.tokens,
        finish_reason=heard.finish or "stopped",
    )


def judgement(one: Round, pair: tuple[Candidate, Candidate]) -> Judgement:
    """The vote as it was given: `first` is the reply that stood left."""
    left, right = (label(answer(one, place, pair[place])) for place in one.sides)
    sides: dict[Vote | None, Literal["first", "second", "tie"]] = {
        "left": "first",
        "right": "second",
        "tie": "tie",
    }
    return Judgement(
        dialogue_id=one.id,
        judge=JUDGE,
        judge_version=f"kindred-slm {version('kindred-slm')}",
        rubric=RUBRIC,
        rubric_digest=digest_text(QUESTION),
        first=left,
        second=right,
        verdict=Verdict(side=sides[one.vote]),
        raw=f"voted {one.vote}, names hidden, sides by lot",
    )


def label(given: Answer) -> str:
    """As verdicts name an answer: whose it is, and what it says."""
    return f"{given.candidate}:{digest_text(given.text)[:12]}"
