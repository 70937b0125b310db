"""The dialogues on which importance is measured: never those on which a file is judged.

In: JSON lines as the gate reads them, or the bundled starter dialogues. Out: conversations, and
the same as a file beside the artifact, so that the importance matrix can be made again. Refused:
text that is nothing but the gate's (BadInput).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput
from distill.core.jsonl import numbered_lines, write_jsonl
from export.conversations import Messages, read, spread

MOST = 160
SHORTEST = 20
SUFFIX = ".imatrix.jsonl"
BUNDLED = "bundled starter dialogues"


@dataclass(frozen=True)
class Calibration:
    """Conversations, where they come from, and how many were left out as the gate's."""

    conversations: list[Messages]
    source: str
    left_out: int


def calibration(path: Path | None, judged: Sequence[Messages]) -> Calibration:
    """At most 160 conversations, none of which says what the gate's text says."""
    found = starter() if path is None else read(path)
    known = {said for messages in judged for said in sayings(messages)}
    fresh = [messages for messages in found if known.isdisjoint(sayings(messages))]
    if not fresh:
        raise BadInput(
            f"{path} holds nothing but the gate's own text; measure importance on other dialogues"
        )
    source = BUNDLED if path is None else path.name
    return Calibration(spread(fresh, MOST), source, len(found) - len(fresh))


def sayings(messages: Messages) -> set[str]:
    """What was said, short phrases aside: everybody says those."""
    contents = (m["content"].strip() for m in messages if m["role"] != "system")
    return {content for content in contents if len(content) >= SHORTEST}


def starter() -> list[Messages]:
    """The starter dialogues with the reply that a student should learn."""
    path = Path(str(resources.files("distill").joinpath("starter/dialogues.jsonl")))
    return [conversation(value) for _, value in numbered_lines(path)]


def conversation(value: Any) -> Messages:
    turns = [{"role": t["role"], "content": t["content"]} for t in value["turns"]]
    return [*turns, {"role": "assistant", "content": value["responses"]["improved"]}]


def calibration_path(artifact: Path) -> Path:
    return artifact.with_name(artifact.name.removesuffix(".gguf") + SUFFIX)


def write_beside(path: Path, found: Calibration) -> None:
    write_jsonl(path, ({"messages": messages} for messages in found.conversations))
