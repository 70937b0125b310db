"""What a run folder knows of one file or ONNX folder.

In: a run folder, each part of it optional. Out: `Evidence`, not yet checked to belong together
(`eval.pages.joining` does that). Refused: a folder that holds nothing to report (MissingInput),
several artifacts to choose from, two answer files of one candidate (BadInput), an artifact that
differs from its manifest (CheckFailed).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, CheckFailed, MissingInput
from distill.core.identity import own_files, stated_digest
from distill.core.jsonl import read_json, read_jsonl
from distill.core.manifest import BESIDE, ArtifactManifest, check_files, read_manifest
from distill.core.naming import named
from distill.core.records import Dialogue, Judgement
from eval.held_out import AnswerFile, read_answers

STUDENT, BASE = "student", "base"


@dataclass(frozen=True)
class Artifact:
    """The file or ONNX folder that the report is about."""

    path: Path
    sha256: str
    size_bytes: int
    manifest: ArtifactManifest

    @property
    def format(self) -> str:
        return self.manifest.format

    @property
    def noun(self) -> str:
        return "folder" if self.format == "onnx" else "file"


@dataclass(frozen=True)
class Evidence:
    """Every part that was found; None or empty is a part that is not there."""

    folder: Path
    artifact: Artifact | None
    winrate: dict[str, Any] | None
    judgements: list[Judgement]
    latency: dict[str, Any] | None
    student: AnswerFile | None
    base: AnswerFile | None
    others: list[AnswerFile]
    comparison: dict[str, Any] | None
    measures: dict[str, dict[str, Any]]
    dialogues: dict[str, Dialogue]
    provenance: dict[str, Any] | None
    dataset_card: dict[str, Any] | None
    curves_png: bytes | None

    @property
    def sha256(self) -> str | None:
        """The digest that keys the report: the file's, or what the figures say they measured."""
        if self.artifact:
            return self.artifact.sha256
        if self.student:
            return self.student.artifact_sha256
        return (self.latency or {}).get("artifact_sha256")

    @property
    def candidates(self) -> list[AnswerFile]:
        """Whose answers are here: the student, what it is compared with, and the others."""
        return [side for side in (self.student, self.base, *self.others) if side]

    @property
    def name(self) -> str:
        return self.artifact.path.name if self.artifact else self.folder.resolve().name


def read_evidence(folder: Path, wanted: str | None = None) -> Evidence:
    """Read what lies in `folder`; `wanted` names the artifact when `edge/` has several."""
    if not folder.is_dir():
        raise MissingInput(
            f"{folder} is no folder; give the folder of a run, as in runs/quickstart"
        )
    winrate = read_object(folder / "judged/winrate.json")
    answers = answer_files(folder / "answers")
    first, second = sides(winrate, answers)
    test = folder / "sets/test.jsonl"
    judgements = folder / "judged/judgements.jsonl"
    curves = folder / "student/curves.png"
    found = Evidence(
        folder=folder,
        artifact=find_artifact(folder / "edge", wanted),
        winrate=winrate,
        judgements=read_jsonl(judgements, Judgement) if judgements.exists() else [],
        latency=read_object(folder / "latency.json"),
        student=answers.get(first),
        base=answers.get(second),
        others=[file for name, file in answers.items() if name not in (first, second)],
        comparison=read_object(folder / "compared/comparison.json"),
        measures=measures_of(folder / "measures"),
        dialogues={d.id: d for d in read_jsonl(test, Dialogue)} if test.exists() else {},
        provenance=read_object(folder / "student/kindred.json"),
        dataset_card=read_object(folder / "sets/dataset_card.json"),
        curves_png=curves.read_bytes() if curves.exists() else None,
    )
    if not (found.artifact or found.winrate or found.latency or found.student):
        raise MissingInput(
            f"{folder} holds nothing to report: no edge/*{BESIDE}, judged/winrate.json, "
            "latency.json or answers/*.jsonl; write one with: distill export gguf "
            f"{folder / 'student'} --bits 4"
        )
    return found


def read_object(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    value = read_json(path)
    if not isinstance(value, dict):
        raise BadInput(f"{path} holds no JSON object; write it again with the command it is from")
    return value


def measures_of(folder: Path) -> dict[str, dict[str, Any]]:
    """What `distill eval measure` wrote, by candidate."""
    read = [read_object(path) for path in sorted(folder.glob("*.json"))]
    return {str(held.get("candidate", "not stated")): held for held in read if held}


def answer_files(folder: Path) -> dict[str, AnswerFile]:
    """Answer files by candidate."""
    found: dict[str, AnswerFile] = {}
    for path in sorted(folder.glob("*.jsonl")):
        file = read_answers(path)
        if file.candidate in found:
            raise BadInput(
                f"{found[file.candidate].path} and {path} both hold answers of "
                f"{file.candidate!r}; keep one of them"
            )
        found[file.candidate] = file
    return found


def sides(winrate: dict[str, Any] | None, answers: dict[str, AnswerFile]) -> tuple[str, str]:
    """The names of the student and of what it is compared with."""
    first, second = STUDENT, BASE
    if winrate:
        first, second = winrate.get("first", first), winrate.get("second", second)
    elif first not in answers and len(answers) == 1:
        first = next(iter(answers))
    return first, second


def find_artifact(folder: Path, wanted: str | None) -> Artifact | None:
    """The student's file: the one asked for, the only one there, or the one named for it."""
    names = sorted(path.name.removesuffix(BESIDE) for path in folder.glob(f"*{BESIDE}"))
    if wanted is not None:
        name = named(Path(wanted)).name
        here = Path(wanted) == Path(name) or Path(wanted).resolve() == (folder / name).resolve()
        if name not in names or not here:
            there = ", ".join(names) or "none"
            raise MissingInput(
                f"{folder} holds no artifact {wanted} with a manifest; there are: {there}"
            )
        return artifact_at(folder / name)
    mine = [name for name in names if name.startswith(f"{STUDENT}-")]
    choice = mine or names
    if len(choice) > 1:
        raise BadInput(
            f"{folder} holds {len(choice)} artifacts ({', '.join(choice)}), and a report is about "
            f"one; choose it with: --artifact {choice[0]}"
        )
    return artifact_at(folder / choice[0]) if choice else None


def artifact_at(path: Path) -> Artifact:
    """What the manifest says; the artifact itself is checked where it still lies beside it."""
    manifest = check_files(path) if path.exists() else read_manifest(path)
    sha256 = stated_digest(manifest, path.name)
    if sha256 is None:
        raise CheckFailed(
            f"{path}{BESIDE} does not name {path.name}; export it again with: {manifest.made_by}"
        )
    size_bytes = sum(file.size_bytes for file in own_files(manifest, path.name))
    return Artifact(path, sha256, size_bytes, manifest)
