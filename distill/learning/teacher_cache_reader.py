"""A teacher from the disk: any token's log-probability, without the teacher's body.

In: a folder that `distill teach states` wrote. Out: `StoredTeacher`, which answers like a live one;
`StoredTopK`, which knows a few tokens. Refused: a store that is not finished, of another tier, of
another tokenizer, prompt or template (BadInput); a reply that is not in it (MissingInput).

The index and the shards are mapped into memory: a reply costs a search and the pages it lies on,
however large the store is.

Shapes: N response tokens, E the teacher's width, V vocabulary, K tokens asked for.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import plain_reason, read_json
from distill.learning.projection import Head
from distill.learning.teacher import Taught, refuse_other_tokenizer
from distill.learning.teacher_cache import (
    FORMAT,
    HEAD,
    HEADER,
    INDEX,
    VOCABULARY,
    Layout,
    Rows,
    StoreHeader,
    Tier,
    unpack,
)
from distill.learning.teacher_cache_sparse import picked_logits
from distill.learning.teacher_cache_writer import opened, shards_of

AGAIN = "run the same `distill teach states` again"


@dataclass(frozen=True)
class Vocabulary:
    """The tokens of the teacher's tokenizer, which is all that is compared of it."""

    tokens: Mapping[str, int]

    def get_vocab(self) -> Mapping[str, int]:
        return self.tokens


class Store:
    """Rows of replies by their key."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.header = folder, read_header(folder)
        if not (folder / INDEX).is_file():
            raise BadInput(f"{folder} is not finished: it has no index; {AGAIN}")
        self.index = opened(folder / INDEX)
        self.keys = self.index.get_tensor("keys").numpy()
        self.places = self.index.get_tensor("places")
        names = self.index.get_tensor("shards").numpy().tobytes().decode().split("\n")
        self.shards: dict[str, Any] = {}
        self.names = [name for name in names if name]
        if self.names != [shard.name for shard in shards_of(folder)]:
            raise BadInput(f"{folder} is not finished: its index lists other shards; {AGAIN}")

    @property
    def layout(self) -> Layout:
        return self.header.layout

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def tokens(self) -> int:
        return int(self.places[:, 2].sum())

    def has(self, taught: Taught) -> bool:
        return self.found(taught) is not None

    def found(self, taught: Taught) -> int | None:
        key = bytes.fromhex(taught.key)
        place = bisect_left(self.keys, key, key=lambda row: row.tobytes())
        there = place < len(self.keys) and self.keys[place].tobytes() == key
        return place if there else None

    def rows(self, taught: Taught) -> Rows:
        """The tensors of one reply, as they are stored; only their pages are read."""
        place = self.found(taught)
        if place is None:
            raise MissingInput(
                f"{self.folder} has no states for a reply to dialogue "
                f"{taught.dialogue_id or taught.key}; it was stored for other data, another prompt "
                f"or other privileged fields: {AGAIN} with this data"
            )
        number, start, count = self.places[place].tolist()
        shard = self.shard(self.names[number])
        names = [name for name in shard.keys() if name not in ("keys", "counts")]  # noqa: SIM118
        return {name: shard.get_slice(name)[start : start + count] for name in names}

    def shard(self, name: str) -> Any:
        if name not in self.shards:
            self.shards[name] = opened(self.folder / name)
        return self.shards[name]

    def gathered(self, taught: Sequence[Taught]) -> Rows:
        """The tensors of several replies, one behind the other."""
        found = [self.rows(each) for each in taught]
        return {name: torch.cat([rows[name] for rows in found]) for name in found[0]}


def read_header(folder: Path) -> StoreHeader:
    path = folder / HEADER
    if not path.is_file():
        raise MissingInput(f"{folder} holds no {HEADER}, so it is no teacher store; {AGAIN}")
    try:
        header = StoreHeader.model_validate(read_json(path))
    except ValueError as error:
        raise BadInput(f"{path} is not a store's header: {plain_reason(error)}") from error
    if header.format != FORMAT:
        raise BadInput(
            f"{path} has format {header.format}, and this version reads {FORMAT}; store it again"
        )
    return header


def open_store(
    folder: Path,
    tier: Tier,
    *,
    student_tokenizer: Any = None,
    prompt_sha256: str | None = None,
    template_sha256: str | None = None,
) -> Store:
    """A store for this student and this teacher's prompt; BadInput when it is for others."""
    store = Store(folder)
    identity = store.header.identity
    if store.layout.tier != tier:
        raise BadInput(f"{folder} holds the tier {store.layout.tier}, and {tier} is needed")
    if student_tokenizer is not None:
        theirs = Vocabulary(read_json(folder / VOCABULARY))
        refuse_other_tokenizer(student_tokenizer, theirs, identity.teacher)
    wanted = {"prompt": prompt_sha256, "chat template": template_sha256}
    stored = {"prompt": identity.prompt_sha256, "chat template": identity.template_sha256}
    for name, digest in wanted.items():
        if digest is not None and digest != stored[name]:
            raise BadInput(
                f"{folder} was stored with another {name} (sha256 {stored[name][:8]}..., now "
                f"{digest[:8]}...); store the teacher again: distill teach states"
            )
    return store


class StoredTeacher:
    """Answers as the live teacher did when it was stored; see `teacher.Teacher`."""

    def __init__(self, store: Store, device: str = "cpu") -> None:
        self.store, self.device = store, torch.device(device)
        self.name = store.header.identity.teacher
        saved = opened(store.folder / HEAD)
        # A CPU would widen the head anew in every step.
        kind = torch.float32 if self.device.type == "cpu" else torch.bfloat16
        parts = {name: saved.get_tensor(name).to(self.device, kind) for name in saved.keys()}  # noqa: SIM118
        self.head = Head(
            parts["weight"], parts.get("bias"), store.header.logit_scale, store.header.softcap
        )

    def hidden(self, taught: Sequence[Taught]) -> Tensor:
        """States [N, E] that predict the replies' tokens, in order."""
        return self.answered(taught)[0]

    def refuse_unread(self, taught: Taught) -> None:
        """BadInput when the store has no states for a reply."""
        if not self.store.has(taught):
            raise BadInput(
                f"the store of {self.name} lacks dialogue {taught.dialogue_id or taught.key}; "
                "store it with: distill teach states (--plain-too for the leakage gauge)"
            )

    def answered(self, taught: Sequence[Taught]) -> tuple[Tensor, Tensor]:
        """States [N, E] and their log-normalizers [N]."""
        rows = self.store.gathered(taught)
        states_NE = unpack(rows, self.store.layout)
        kind = self.head.weight_VD.dtype
        return states_NE.to(self.device, kind), rows["log_normalizer"].to(self.device)

    def log_probabilities(self, taught: Sequence[Taught], ids_NK: Tensor) -> Tensor:
        """Log-probabilities of any tokens [N, K]: a dot product minus the normalizer each."""
        states_NE, normalizers_N = self.answered(taught)
        return picked_logits(self.head, states_NE, ids_NK) - normalizers_N[:, None]


class StoredTopK:
    """The likeliest tokens of a teacher that could not be asked for its states."""

    def __init__(self, store: Store, device: str = "cpu") -> None:
        self.store, self.device = store, torch.device(device)
        self.name = store.header.identity.teacher
        self.vocabulary = store.layout.vocabulary

    def rows(self, taught: Sequence[Taught]) -> Rows:
        """`ids`, `log_p` [N, K] and `log_tail` [N], for `top_k_reverse_kl`."""
        return {n: part.to(self.device) for n, part in self.store.gathered(taught).items()}
