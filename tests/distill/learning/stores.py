"""Small teachers with known states, and stores of theirs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.learning.projection import Head
from distill.learning.teacher import Taught, taught
from distill.learning.teacher_cache import FORMAT, Identity, Layout, StoreHeader
from distill.learning.teacher_cache_capture import capture
from distill.learning.teacher_cache_writer import StoreWriter, begin, write_index

WIDTH, VOCABULARY = 16, 40
NAMES = {f"token {number}": number for number in range(VOCABULARY)}


class KnownTeacher:
    """A public double of `teacher.Teacher`: the state of a reply's token follows from its ids."""

    def __init__(self, *, seed: int = 0, width: int = WIDTH, bias: bool = False) -> None:
        source = torch.Generator().manual_seed(seed)
        self.name, self.device = "known", torch.device("cpu")
        bias_V = torch.randn(VOCABULARY, generator=source) if bias else None
        self.head = Head(torch.randn(VOCABULARY, width, generator=source), bias_V)
        self.width, self.asked, self.stops_after = width, 0, 10**9

    def hidden(self, taught: Sequence[Taught]) -> Tensor:
        self.asked += 1
        if self.asked > self.stops_after:
            raise KeyboardInterrupt
        rows = []
        for each in taught:
            source = torch.Generator().manual_seed(int(each.key[:8], 16))
            rows.append(torch.randn(len(each.reply_ids), self.width, generator=source))
        return torch.cat(rows)

    def refuse_unread(self, taught: Taught) -> None:
        """It can be asked for every reply."""


def replies(count: int) -> list[Taught]:
    """Of one to seven tokens, behind prompts of their own."""
    source = torch.Generator().manual_seed(count)
    sizes = torch.randint(1, 8, (count,), generator=source).tolist()
    return [
        taught([1, 2, number], [(number + i) % VOCABULARY for i in range(size)], f"d{number}")
        for number, size in enumerate(sizes)
    ]


def header_of(**changes: Any) -> StoreHeader:
    """A header of `KnownTeacher`; keywords replace parts of its layout."""
    layout = {"tier": "states", "width": WIDTH, "vocabulary": VOCABULARY, "group": 8, **changes}
    identity = Identity(
        teacher="known",
        teacher_sha256="a" * 64,
        vocabulary_sha256="b" * 64,
        template_sha256="c" * 64,
        prompt_sha256="d" * 64,
    )
    return StoreHeader(
        format=FORMAT,
        identity=identity,
        layout=Layout(**layout),
        logit_scale=1.0,
        softcap=None,
    )


def stored(
    folder: Path,
    teacher: KnownTeacher,
    every: Sequence[Taught],
    *,
    shard_bytes: int = 400,
    **k: Any,
) -> Path:
    """A finished store of several shards."""
    header = header_of(**k)
    begin(folder, header, teacher.head, NAMES)
    writer = StoreWriter(folder, shard_bytes=shard_bytes)
    capture(teacher, every, writer, header.layout)
    write_index(folder)
    return folder
