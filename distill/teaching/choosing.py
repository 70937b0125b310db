"""Which dialogues a teacher is asked about: never the test split, nor what is near to it.

In: a data folder, the splits and the part that are wanted. Out: the dialogues, and what was left
out because it is near to the test split. Refused: the test split (BadInput), before anything is
paid for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import cast

from distill.core.asking import shard
from distill.core.errors import BadInput
from distill.core.records import Dialogue, Split
from distill.corpora.item import Item
from distill.corpora.near_duplicates import drop_near_duplicates

TEACHABLE = ("train", "valid")


@dataclass(frozen=True)
class Chosen:
    """The dialogues to ask about; `near_to_test` names what each one left out is near to."""

    dialogues: list[Dialogue]
    near_to_test: Mapping[str, str]


def choose(
    dialogues: Sequence[Dialogue],
    splits: Sequence[str] = TEACHABLE,
    part: str | None = None,
    limit: int | None = None,
) -> Chosen:
    if bad := [split for split in splits if split not in TEACHABLE]:
        why = "a teacher is never asked about it" if bad[0] == "test" else "there is no such split"
        raise BadInput(f"--split {bad[0]}: {why}; choose of: {', '.join(TEACHABLE)}")
    tested = [one for one in dialogues if one.split == "test"]
    wanted = [one for one in dialogues if one.split in splits]
    near = near_duplicates(wanted, tested)
    kept = [one for one in wanted if one.id not in near]
    return Chosen(list(islice(shard(kept, part, lambda one: one.id), limit)), near)


def near_duplicates(wanted: Sequence[Dialogue], tested: Sequence[Dialogue]) -> dict[str, str]:
    """Which of the wanted are near to a tested one, whatever they are near to besides."""
    first = cast(Split, TEACHABLE[0])
    alike = [one.model_copy(update={"split": first}) for one in wanted]
    _, near = drop_near_duplicates([Item(one, None, ()) for one in [*alike, *tested]])
    return near
