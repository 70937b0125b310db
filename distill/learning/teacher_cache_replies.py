"""Which replies a teacher is stored for, as it reads them.

In: a folder of `distill gather` or of `distill compose`, the privileged fields of a gathered one,
two tokenizers. Out: replies behind the teacher's prompt, made by the functions that training
calls, so that both have the same keys. Refused: a folder that is neither (MissingInput), one
without a reply (BadInput), log-probabilities of replies that are not there (BadInput).

Shapes: N tokens of a reply, K kept tokens.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import read_jsonl
from distill.learning.masks import IGNORED, last_reply, tokens_of
from distill.learning.privileged import Asking, Knowledge, teacher_messages
from distill.learning.teacher import Taught, taught
from distill.learning.teacher_cache import Rows
from distill.learning.teacher_cache_top_k import rows_of_service
from distill.learning.training_sets import SFT, Messages
from distill.learning.training_sets import Taught as Dialogue
from distill.teaching.choosing import choose
from distill.teaching.data_folder import DataFolder

END_TOKENS = 2  # after a reply's words: a service does not score how a template ends a turn


@dataclass(frozen=True)
class Reply:
    """Messages that end with a reply, and the id of its record where there is one."""

    messages: Messages
    response_id: str = ""


class ServiceRow(BaseModel):
    """What a service sent for one reply; `logprobs` is `choices[0].logprobs` as it came."""

    response_id: str
    logprobs: Mapping[str, Any]


@dataclass(frozen=True)
class Asked:
    """How the teacher is asked: by which prompt, knowing what, with and without the fields."""

    asking: Asking
    knowledge: Knowledge
    plain_too: bool = False

    def views(self, messages: Messages) -> Iterator[tuple[Messages, str]]:
        """The teacher's messages, and the dialogue's id for refusals."""
        known = self.knowledge.of(messages)
        yield teacher_messages(messages, known.fields, self.asking), known.dialogue_id
        if self.plain_too and known.fields:
            yield teacher_messages(messages, {}, self.asking), known.dialogue_id


def replies_in(folder: Path) -> list[Reply]:
    """Replies of the training and validation parts; the test split is never stored."""
    if (folder / "responses.jsonl").is_file():
        data = DataFolder.read(folder)
        found = [
            Reply([*one.messages(), {"role": "assistant", "content": response.text}], response.id)
            for one in choose(data.dialogues).dialogues
            for response in data.responses[one.id]
        ]
    elif (folder / f"{SFT}.jsonl").is_file():
        names = [name for end in ("", "_valid") if (name := folder / f"{SFT}{end}.jsonl").exists()]
        found = [Reply(row.dialogue()) for name in names for row in read_jsonl(name, Dialogue)]
    else:
        raise MissingInput(
            f"{folder} holds neither responses.jsonl nor {SFT}.jsonl; give a folder that `distill "
            "gather` or `distill compose` wrote"
        )
    if not found:
        raise BadInput(
            f"{folder} has no reply in its training and validation parts; write some with: "
            f"distill teach responses {folder}"
        )
    return found


def knowledge_of(data: Path, privileged: Path | None) -> Knowledge:
    """The fields of `privileged`, else of a gathered folder itself, else none."""
    if privileged is not None:
        return Knowledge.read(privileged)
    own = data / "privileged.jsonl"
    return Knowledge.read(data) if own.is_file() and own.stat().st_size else Knowledge.none()


def taught_of(reply: Reply, asked: Asked, student: Any, teacher: Any) -> Iterator[Taught]:
    """The reply's tokens as the student learns them, behind each of the teacher's prompts."""
    ids = [i for i in last_reply(student, reply.messages)["labels"] if i != IGNORED]
    for messages, name in asked.views(reply.messages):
        yield taught(tokens_of(teacher, messages, prompt=True), ids, name)


def read_service(path: Path, known: Sequence[str]) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Tokens with log-probabilities by response; BadInput for a response that is not there."""
    found = {row.response_id: row.logprobs for row in read_jsonl(path, ServiceRow)}
    if strange := sorted(found.keys() - set(known)):
        raise BadInput(f"{path} scores {strange[0]}, which is no response of the data")
    if not found:
        raise BadInput(f"{path} is empty; write one line a response")
    return {name: logprobs.get("content") or [] for name, logprobs in found.items()}


def service_rows(
    content: Sequence[Mapping[str, Any]], ids: Sequence[int], names: Mapping[str, int], kept: int
) -> Rows:
    """Rows of a reply; of the tokens that end its turn nothing is known, so all is bucket."""
    ended = len(ids) - len(content)
    words = ids[: len(content)] if 0 <= ended <= END_TOKENS else ids
    rows = rows_of_service(content, words, names, kept)
    unknown = len(ids) - len(words)
    return {
        "ids": torch.cat([rows["ids"], torch.zeros(unknown, kept, dtype=torch.int32)]),
        "log_p": torch.cat([rows["log_p"], torch.full((unknown, kept), -torch.inf)]),
        "log_tail": torch.cat([rows["log_tail"], torch.zeros(unknown)]),
    }
