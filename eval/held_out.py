"""What is compared: held-out dialogues and the answers that candidates gave to them.

In: `test.jsonl` and answer files. Out: dialogues, answers, and answers joined by dialogue id.
Refused (BadInput): an empty file, a repeated id, answers of several candidates in one file, two
files that answer different dialogues.
"""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl
from distill.core.records import Answer, Dialogue


def read_dialogues(path: Path, limit: int | None = None, seed: int = 0) -> list[Dialogue]:
    """The dialogues of a file, or `limit` of them drawn by `seed`, in the file's order."""
    dialogues = read_jsonl(path, Dialogue)
    if not dialogues:
        raise BadInput(f"{path} holds no dialogues; write them with: distill compose")
    refuse_repeated([dialogue.id for dialogue in dialogues], path)
    return sample(dialogues, limit, seed)


def sample(dialogues: list[Dialogue], limit: int | None, seed: int) -> list[Dialogue]:
    if limit is None or limit >= len(dialogues):
        return dialogues
    chosen = random.Random(seed).sample(range(len(dialogues)), limit)
    return [dialogues[index] for index in sorted(chosen)]


def refuse_repeated(names: list[str], path: Path) -> None:
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise BadInput(
            f"{path} holds {len(repeated)} ids more than once, first {repeated[0]!r}; "
            "keep one line for each"
        )


@dataclass(frozen=True)
class AnswerFile:
    """All answers of one candidate, by dialogue id."""

    path: Path
    candidate: str
    artifact_sha256: str
    answers: dict[str, Answer]

    def texts(self) -> list[str]:
        return [answer.text for answer in self.answers.values()]


def read_answers(path: Path) -> AnswerFile:
    """The answers of a file, which all come from one candidate."""
    answers = read_jsonl(path, Answer)
    if not answers:
        raise BadInput(f"{path} holds no answers; write them with: distill eval answer")
    refuse_repeated([answer.dialogue_id for answer in answers], path)
    makers = {(answer.candidate, answer.artifact_sha256) for answer in answers}
    if len(makers) > 1:
        raise BadInput(f"{path} holds answers of {len(makers)} candidates; keep one to a file")
    candidate, digest = makers.pop()
    return AnswerFile(path, candidate, digest, {a.dialogue_id: a for a in answers})


def joined(a: AnswerFile, b: AnswerFile, dialogues: list[Dialogue], source: Path) -> list[Dialogue]:
    """The dialogues that both files answer, in the file's order; BadInput when the sets differ."""
    if a.candidate == b.candidate:
        raise BadInput(
            f"{a.path} and {b.path} both name their candidate {a.candidate!r}; "
            "answer one of them again with another --name"
        )
    only = [name for name in a.answers if name not in b.answers]
    only += [name for name in b.answers if name not in a.answers]
    if only:
        where = a.path if only[0] in a.answers else b.path
        raise BadInput(
            f"{a.path} and {b.path} answer different dialogues: {len(only)} are in one of them "
            f"alone, first {only[0]!r} (in {where}); answer the same --dialogues with both"
        )
    return answered(a, dialogues, source)


def answered(file: AnswerFile, dialogues: list[Dialogue], source: Path) -> list[Dialogue]:
    """The dialogues that a file answers, in their order; BadInput for an answer without one."""
    known = {dialogue.id for dialogue in dialogues}
    foreign = [name for name in file.answers if name not in known]
    if foreign:
        raise BadInput(
            f"{len(foreign)} answers have no dialogue in {source}, first {foreign[0]!r}; "
            "give the --dialogues that were answered"
        )
    return [dialogue for dialogue in dialogues if dialogue.id in file.answers]
