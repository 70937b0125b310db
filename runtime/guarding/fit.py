"""Fit the guard's classifier again: `python -m runtime.guarding fit`.

In: labelled messages (those of the package, unless others are given) and dialogues of everyday
life. Out: `classifier.json`: one weight a class for each feature, and what was learned from.
Refused: files that are missing or no labelled messages.
"""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

import typer

from distill.core.command import Outcome, command
from distill.core.jsonl import sha256_of, write_text
from runtime.guarding.classifier import BUNDLED, CLASSES
from runtime.guarding.learn import learn, read_everyday, read_labelled
from runtime.guarding.policy import read_policy

HERE = Path(str(resources.files(__package__)))
EVERYDAY = Path("distill/starter/dialogues.jsonl")
MESSAGES = (HERE / "written.jsonl", HERE / "development.jsonl")


@command
def run(
    labelled: Annotated[
        list[Path] | None, typer.Argument(help="JSON lines with text, label and kind.")
    ] = None,
    everyday: Annotated[
        list[Path] | None, typer.Option(help="Dialogues in which nobody is in danger.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="The policy; by default the bundled.")] = None,
    out: Annotated[Path, typer.Option(help="Where the classifier goes.")] = HERE / BUNDLED,
) -> Outcome:
    """Fit the guard's classifier."""
    files = labelled or list(MESSAGES)
    messages = [message for file in files for message in read_labelled(file)]
    usual = everyday or [EVERYDAY]
    turns = [turn for file in usual for turn in read_everyday(file)]
    found = learn([*messages, *turns], read_policy(policy))
    known = {
        "classes": list(CLASSES),
        "messages": len(messages),
        "everyday_turns": len(turns),
        "data_sha256": {file.name: sha256_of(file) for file in files},
        "offset": found.offset,
        "weights": dict(sorted(found.weights.items())),
    }
    write_text(out, spelled(known))
    told = {"out": str(out), "messages": len(messages), "features": len(found.weights)}
    return Outcome(told, [f"{out}: {len(found.weights)} features from {len(messages)} messages"])


def spelled(known: Mapping[str, Any]) -> str:
    """JSON with one feature a line, so that a change can be read."""
    head = {name: value for name, value in known.items() if name != "weights"}
    rows = ",\n".join(
        f"{json.dumps(name, ensure_ascii=False)}:{json.dumps(row, separators=(',', ':'))}"
        for name, row in known["weights"].items()
    )
    return f'{json.dumps(head)[:-1]}, "weights": {{\n{rows}\n}}}}\n'
