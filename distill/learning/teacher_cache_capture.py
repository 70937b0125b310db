"""A live teacher's answers into a store, and the check that they are there.

In: a live teacher, replies as it reads them. Out: rows in a store; figures that compare a sample
of the store with the teacher itself. Refused: a store whose sample is further from the teacher
than its precision explains (CheckFailed), a disk that cannot hold what is coming (Unavailable).

Shapes: N response tokens, E the teacher's width, V vocabulary.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from distill.core.errors import CheckFailed, Unavailable
from distill.core.jsonl import write_json
from distill.core.progress import track
from distill.learning.fused_pass import slices
from distill.learning.losses import kl
from distill.learning.projection import Head
from distill.learning.teacher import Taught, Teacher, batches
from distill.learning.teacher_cache import (
    CHECKED,
    Layout,
    Rows,
    log_normalizers,
    logits_of,
    pack,
    rows_at_once,
    unpack,
)
from distill.learning.teacher_cache_reader import Store, StoredTeacher
from distill.learning.teacher_cache_top_k import top_rows
from distill.learning.teacher_cache_writer import StoreWriter

SAMPLE = 32
# Nats a token between teacher and store; what rounding does lies far below.
KL_AT_MOST = {"bf16": 1e-3, "int8": 1e-2}
INDEX_BYTES = 56  # of one reply: its key and its place
WEIGHT_BYTES = 4  # of the head, at most


@dataclass(frozen=True)
class Size:
    """How large a store will be, before anything is computed."""

    replies: int
    tokens: int
    bytes_per_token: int
    head_bytes: int
    total_bytes: int

    def line(self) -> str:
        return (
            f"{self.replies} replies, {self.tokens} response tokens at {self.bytes_per_token} "
            f"bytes: {self.total_bytes / 1e6:.1f} MB, of which the head is at most "
            f"{self.head_bytes / 1e6:.1f} MB"
        )


@dataclass(frozen=True)
class Check:
    """A sample of a store beside the teacher: nats a token, and the relative error of states."""

    replies: int
    tokens: int
    mean_kl: float
    largest_kl: float
    largest_log_p_error: float
    state_error: float | None


def size_of(layout: Layout, replies: Sequence[Taught]) -> Size:
    """Bytes on the disk; the head is counted at full precision."""
    tokens = sum(len(taught.reply_ids) for taught in replies)
    head = layout.vocabulary * layout.width * WEIGHT_BYTES if layout.tier == "states" else 0
    total = tokens * layout.row_bytes + head + len(replies) * INDEX_BYTES
    return Size(len(replies), tokens, layout.row_bytes, head, total)


def refuse_full_disk(folder: Path, size_bytes: int) -> None:
    """Unavailable when the disk cannot hold what is coming."""
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    held = sum(file.stat().st_size for file in folder.glob("*"))
    if free + held < size_bytes:
        raise Unavailable(
            f"{folder} would take {size_bytes / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB "
            "left; free some, choose another --out, or take --precision int8"
        )


@torch.no_grad()
def capture(
    teacher: Teacher, replies: Sequence[Taught], writer: StoreWriter, layout: Layout
) -> int:
    """Store every reply that is not there yet; returns how many were computed."""
    due = list({t.key: t for t in replies if t.key not in writer.known}.values())
    # Replies of one length fill a batch without padding.
    due.sort(key=lambda taught: (len(taught.ids), taught.key))
    head = teacher.head.cut(layout.vocabulary)
    parts = list(batches(due)) if due else []
    for part in track(parts, "teach states", len(parts)):
        rows = rows_of(teacher.hidden(part), head, layout)
        start = 0
        for taught in part:
            end = start + len(taught.reply_ids)
            writer.add(taught, {name: tensor[start:end].cpu() for name, tensor in rows.items()})
            start = end
    writer.flush()
    return len(due)


def rows_of(hidden_NE: Tensor, head: Head, layout: Layout) -> Rows:
    """What the store keeps of states; the normalizer is that of the state as it will be read."""
    if layout.tier == "top-k":
        return top_rows(head, hidden_NE, layout.top_k or 0)
    rows = pack(hidden_NE, layout)
    states_NE = unpack(rows, layout).to(head.weight_VD.dtype)
    return {**rows, "log_normalizer": log_normalizers(head, states_NE)}


@torch.no_grad()
def check(store: Store, teacher: Teacher, replies: Sequence[Taught]) -> Check:
    """Ask the teacher again for a sample of the replies, and compare."""
    step = max(1, len(replies) // SAMPLE)
    sample = list(replies)[::step][:SAMPLE]
    states_NE = teacher.hidden(sample)
    head = teacher.head.cut(store.layout.vocabulary)
    token_N = torch.tensor([i for taught in sample for i in taught.reply_ids])
    if store.layout.tier == "top-k":
        found = compare_top(store, sample, head, states_NE)
    else:
        found = compare_states(store, sample, head, states_NE, token_N)
    write_json(store.folder / CHECKED, asdict(found))
    if found.mean_kl > KL_AT_MOST[store.layout.precision]:
        raise CheckFailed(
            f"{store.folder} is {found.mean_kl:.2e} nats a token from the teacher, more than the "
            f"{KL_AT_MOST[store.layout.precision]} that {store.layout.precision} explains; the "
            "teacher may have changed: remove the folder and store it again"
        )
    return found


def compare_states(
    store: Store, sample: Sequence[Taught], head: Head, states_NE: Tensor, token_N: Tensor
) -> Check:
    """KL(teacher || store) over the whole vocabulary."""
    stored = StoredTeacher(store, str(states_NE.device))
    stored_NE, normalizers_N = stored.answered(sample)
    kl_N, error_N = states_NE.new_empty(2, len(states_NE), dtype=torch.float32)
    for rows in slices(len(states_NE), rows_at_once(head)):
        log_p_CV = torch.log_softmax(logits_of(head, states_NE[rows]), -1)
        found_CV = logits_of(stored.head, stored_NE[rows]) - normalizers_N[rows, None]
        kl_N[rows] = kl(log_p_CV, found_CV)
        token_C1 = token_N[rows, None].to(log_p_CV.device)
        error_N[rows] = (log_p_CV - found_CV).gather(-1, token_C1)[:, 0].abs()
    apart = (stored_NE.float() - states_NE.float()).norm() / states_NE.float().norm()
    return summary(sample, kl_N, error_N, float(apart))


def compare_top(store: Store, sample: Sequence[Taught], head: Head, states_NE: Tensor) -> Check:
    """KL(teacher || store) over the kept tokens and their bucket."""
    kept = store.gathered(sample)
    found = torch.cat([kept["log_p"], kept["log_tail"][:, None]], -1).to(states_NE.device)
    every = torch.empty_like(found)
    for rows in slices(len(states_NE), rows_at_once(head)):
        log_p_CV = torch.log_softmax(logits_of(head, states_NE[rows]), -1)
        ids_CK = kept["ids"][rows].long().to(log_p_CV.device)
        every[rows, :-1] = log_p_CV.gather(-1, ids_CK)
        every[rows, -1] = log_p_CV.scatter_(-1, ids_CK, -torch.inf).logsumexp(-1)
    return summary(sample, kl(every, found), (every - found)[:, :-1].abs().amax(-1), None)


def summary(
    sample: Sequence[Taught], kl_N: Tensor, error_N: Tensor, state_error: float | None
) -> Check:
    return Check(
        len(sample),
        len(kl_N),
        float(kl_N.mean()),
        float(kl_N.max()),
        float(error_N.max()),
        state_error,
    )
