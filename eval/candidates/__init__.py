"""Who answers: an exported artifact, a checkpoint folder, or an endpoint; one kind a file.

In: what the command line names. Out: a `Candidate` that answers dialogues for as long as it is
open. Refused: what is none of the kinds (Unsupported), what is not there (MissingInput).
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from distill.core.chat import Reply, Sampling
from distill.core.errors import MissingInput, Unsupported
from distill.core.naming import CHECKPOINT_MARKS, ONNX_MARK, is_onnx
from distill.core.records import Dialogue

CANDIDATES: Mapping[str, str] = {
    "artifact": "eval.candidates.artifact",
    "checkpoint": "eval.candidates.checkpoint",
    "endpoint": "eval.candidates.endpoint",
}


@dataclass(frozen=True)
class CandidateOptions:
    """What the command line knows of a candidate; each kind takes what concerns it."""

    model: str | None = None
    at_once: int | None = None
    threads: int | None = None
    timeout_s: float = 120.0
    retries: int = 4


class Candidate(Protocol):
    """Something that answers."""

    @property
    def sha256(self) -> str:
        """Digest of what answers."""
        ...

    def replies(
        self, dialogues: Sequence[Dialogue], sampling: Sampling
    ) -> Iterator[tuple[Dialogue, Reply]]:
        """A reply to every dialogue, each as soon as it is there, in any order."""
        ...


def kind_of(name: str) -> str:
    """Which of the kinds a name belongs to."""
    if name.startswith(("http://", "https://")):
        return "endpoint"
    path = Path(name)
    if not path.exists():
        raise MissingInput(
            f"{name} does not exist; a candidate is an exported file or ONNX folder, a checkpoint "
            "folder, or a URL like http://127.0.0.1:8080/v1"
        )
    if path.is_file() or is_onnx(path):
        return "artifact"
    if any((path / mark).exists() for mark in CHECKPOINT_MARKS):
        return "checkpoint"
    raise Unsupported(
        f"{name} is a folder without {', '.join(CHECKPOINT_MARKS)} or {ONNX_MARK}; give an "
        "exported file, a checkpoint folder, or an ONNX folder"
    )


def open_candidate(
    name: str, options: CandidateOptions
) -> AbstractContextManager[Candidate, bool | None]:
    """The candidate, open until the block ends."""
    module = importlib.import_module(CANDIDATES[kind_of(name)])
    opened: AbstractContextManager[Candidate, bool | None] = module.opened(name, options)
    return opened
