"""The folder that gather writes, as teach, annotate and improve read it and write it anew.

In: a folder. Out: the same with more in it, written whole or not at all. Refused: what
`distill compose` refuses of such a folder, and fields of a dialogue that is not there (BadInput).
`gather.json` gains an entry in `steps` for each command; `unanswered.jsonl` lists what the
teacher was asked for and did not give, as refusals, so that `--again` takes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput
from distill.core.folder import replacing_folder
from distill.core.jsonl import read_json, read_jsonl, write_json, write_jsonl
from distill.core.records import Dialogue, Privileged, Refusal, Response
from distill.sets.composed import Data

UNANSWERED = "unanswered.jsonl"
NAMES = (
    "dialogues.jsonl",
    "privileged.jsonl",
    "responses.jsonl",
    "gather.json",
    "refusals.jsonl",
    UNANSWERED,
)


@dataclass(frozen=True)
class DataFolder:
    """Dialogues, the responses and privileged fields of each, and what else the folder holds."""

    dialogues: list[Dialogue]
    responses: Mapping[str, list[Response]]
    privileged: Mapping[str, Mapping[str, str]]
    refusals: list[Refusal]
    report: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> "DataFolder":
        data = Data.read(folder)
        known = {dialogue.id for dialogue in data.dialogues}
        privileged: dict[str, dict[str, str]] = {}
        for row in optional(folder / "privileged.jsonl", Privileged):
            if row.dialogue_id not in known:
                raise BadInput(
                    f"{folder}/privileged.jsonl tells of {row.dialogue_id}, which is not in "
                    "dialogues.jsonl; gather the data again"
                )
            privileged[row.dialogue_id] = row.fields
        report = read_json(folder / "gather.json") if (folder / "gather.json").exists() else {}
        return cls(
            data.dialogues,
            data.responses,
            privileged,
            optional(folder / "refusals.jsonl", Refusal),
            report,
        )

    def fields_of(self, dialogue: Dialogue) -> Mapping[str, str]:
        return self.privileged.get(dialogue.id, {})

    def with_responses(self, added: Sequence[Response]) -> "DataFolder":
        every = {name: list(responses) for name, responses in self.responses.items()}
        for response in added:
            every[response.dialogue_id].append(response)
        return replace(self, responses=every)

    def with_fields(self, added: Mapping[str, Mapping[str, str]]) -> "DataFolder":
        """Fields that are there already stay as they are."""
        every = {**self.privileged}
        for name, fields in added.items():
            every[name] = {**fields, **every.get(name, {})}
        return replace(self, privileged=every)

    def write(self, out: Path, step: Mapping[str, Any], unanswered: Sequence[Refusal]) -> None:
        names = [dialogue.id for dialogue in self.dialogues]
        fields = [
            Privileged(dialogue_id=name, fields=dict(self.privileged[name]))
            for name in names
            if name in self.privileged
        ]
        with replacing_folder(out, NAMES) as folder:
            write_jsonl(folder / "dialogues.jsonl", self.dialogues)
            write_jsonl(folder / "privileged.jsonl", fields)
            write_jsonl(
                folder / "responses.jsonl", (r for name in names for r in self.responses[name])
            )
            steps = [*self.report.get("steps", []), step]
            write_json(folder / "gather.json", {**self.report, "steps": steps})
            write_jsonl(folder / UNANSWERED, unanswered)
            if self.refusals:
                write_jsonl(folder / "refusals.jsonl", self.refusals)


def optional(path: Path, kind: type[Any]) -> list[Any]:
    return read_jsonl(path, kind) if path.exists() else []
