"""Dialogues of a set as PRIDE trains on them: the student's tokens, the teacher's, the sources.

In: message lists, what is known of them, both tokenizers. Out: rows, and batches of rows as
tensors. Refused: feature files that cannot be read or are no [T, F] (BadInput).

A row's student sees `prompt_ids` and nothing else of a dialogue. The prompt is shortened to the
student's length by leaving out oldest turns, the teacher's never is.

Shapes: B rows, T tokens, S source tokens, L feature frames, F feature width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.core.errors import BadInput
from distill.learning.masks import IGNORED, last_reply, shortened, tokens_of
from distill.learning.privileged import Asking, Known, feature_file, picked, teacher_messages
from distill.learning.teacher import Taught, taught
from distill.learning.training_sets import Messages
from distill.recipe import Pride
from distill.teaching.prompts import background


@dataclass(frozen=True)
class Row:
    """One dialogue with the reply to learn; `informed` and `uninformed` are the teacher's views.

    `index` is its place in the set, which with the step decides what it is told.
    """

    index: int
    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    informed: Taught | None = None
    uninformed: Taught | None = None
    source_ids: tuple[int, ...] = ()
    features: Path | None = None

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt_ids + self.reply_ids

    @property
    def has_sources(self) -> bool:
        return bool(self.source_ids) or self.features is not None

    def answered(self, reply_ids: tuple[int, ...]) -> "Row":
        """The same dialogue with another reply."""

        def heard(view: Taught | None) -> Taught | None:
            return view and taught(view.prompt_ids, reply_ids, view.dialogue_id)

        informed, uninformed = heard(self.informed), heard(self.uninformed)
        return replace(self, reply_ids=reply_ids, informed=informed, uninformed=uninformed)


@dataclass(frozen=True)
class RowMaker:
    """Messages into rows; `teacher_tokenizer` is None when no term needs a teacher."""

    recipe: Pride
    tokenizer: Any
    teacher_tokenizer: Any
    features: Path | None = None

    def rows(self, dialogues: Sequence[tuple[Messages, Known]]) -> Iterator[Row]:
        """Rows that fit the student's length, numbered by their place in the set."""
        for index, (messages, known) in enumerate(dialogues):
            for shorter in shortened(messages):
                example = last_reply(self.tokenizer, shorter)
                if len(example["input_ids"]) <= self.recipe.max_length:
                    yield self.row(index, example, messages, known)
                    break

    def row(
        self, index: int, example: dict[str, list[int]], messages: Messages, known: Known
    ) -> Row:
        start = sum(label == IGNORED for label in example["labels"])
        prompt, reply = example["input_ids"][:start], example["input_ids"][start:]
        informed = uninformed = None
        if self.recipe.teacher is not None and self.teacher_tokenizer is not None:
            informed, uninformed = (
                self.view(messages, fields, tuple(reply), known.dialogue_id)
                for fields in (known.fields, {})
            )
        source_ids, features = self.sources(known)
        return Row(index, tuple(prompt), tuple(reply), informed, uninformed, source_ids, features)

    def view(
        self, messages: Messages, fields: Any, reply_ids: tuple[int, ...], dialogue_id: str
    ) -> Taught:
        assert self.recipe.teacher is not None
        asking: Asking = self.recipe.teacher.prompt
        asked = teacher_messages(messages, fields, asking)
        prompt_ids = tokens_of(self.teacher_tokenizer, asked, prompt=True)
        return taught(prompt_ids, reply_ids, dialogue_id)

    def sources(self, known: Known) -> tuple[tuple[int, ...], Path | None]:
        wanted = self.recipe.sources
        if wanted is None:
            return (), None
        text = background(picked(known.fields, wanted.fields))
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False) if text else []
        features = feature_file(self.features, known.dialogue_id) if known.fields else None
        return tuple(ids[: self.recipe.max_length]), features


def padded(rows: Sequence[Sequence[int]], fill: int = 0) -> tuple[Tensor, Tensor]:
    """Ids [B, T] padded at their end, and where there are any."""
    longest = max((len(row) for row in rows), default=0)
    ids_BT = torch.full((len(rows), longest), fill, dtype=torch.long)
    seen_BT = torch.zeros(len(rows), longest, dtype=torch.bool)
    for place, row in enumerate(rows):
        ids_BT[place, : len(row)] = torch.tensor(row, dtype=torch.long)
        seen_BT[place, : len(row)] = True
    return ids_BT, seen_BT


def labels_of(rows: Sequence[Row]) -> Tensor:
    """Labels [B, T]: the reply's tokens, IGNORED elsewhere."""
    labels = [[IGNORED] * len(row.prompt_ids) + list(row.reply_ids) for row in rows]
    return padded(labels, IGNORED)[0]


def padded_features(rows: Sequence[Row], width: int) -> tuple[Tensor, Tensor]:
    """Features [B, L, F] and where there are any."""
    found = [torch.zeros(0, width) if r.features is None else features_in(r.features) for r in rows]
    longest = max(len(each) for each in found)
    features_BLF = torch.zeros(len(rows), longest, width)
    seen_BL = torch.zeros(len(rows), longest, dtype=torch.bool)
    for place, each_LF in enumerate(found):
        if each_LF.shape[1] != width:
            raise BadInput(
                f"{rows[place].features} is {each_LF.shape[1]} wide, and the first feature file of "
                f"the run is {width}; all files of a run must have one width"
            )
        features_BLF[place, : len(each_LF)] = each_LF
        seen_BL[place, : len(each_LF)] = True
    return features_BLF, seen_BL


def features_in(path: Path) -> Tensor:
    """The one array [T, F] of a safetensors or npz file, in fp32."""
    try:
        if path.suffix == ".npz":
            import numpy

            with numpy.load(path) as arrays:
                found = [torch.from_numpy(arrays[name]) for name in arrays.files]
        else:
            from safetensors.torch import load_file

            found = list(load_file(path).values())
    except Exception as error:
        reason = " ".join(str(error).split())[:120]
        raise BadInput(f"{path} cannot be read as features ({reason}); write it again") from error
    if len(found) != 1 or found[0].ndim != 2:
        shapes = [tuple(each.shape) for each in found]
        raise BadInput(f"{path} holds {shapes}; give one array [frames, features] a dialogue")
    return found[0].float()


def feature_width(rows: Sequence[Row]) -> int | None:
    """The width of the run's features, None without any."""
    first = next((row.features for row in rows if row.features is not None), None)
    return None if first is None else features_in(first).shape[1]
