"""Whether the parts of a run belong to one file: joined by digest, never by name or place.

In: evidence. Out: nothing. Refused (CheckFailed): figures of another file than the manifest's,
verdicts on answers that have changed since, a student that was trained again since its export.
"""

from pathlib import Path
from typing import Any

from distill.core.errors import CheckFailed
from distill.core.identity import stated_digest
from distill.core.jsonl import sha256_of
from distill.core.manifest import BESIDE, read_manifest
from eval.held_out import AnswerFile
from eval.pages.evidence import Evidence


def refuse_foreign(found: Evidence) -> None:
    """CheckFailed at the first part that belongs to something else."""
    test = found.folder / "sets/test.jsonl"
    file = found.artifact.path if found.artifact else "FILE"
    if mine := found.student:
        again = f"eval answer {file} --name {mine.candidate} --dialogues {test} --out {mine.path}"
        same_file(found, mine.path, mine.artifact_sha256, again)
    if found.latency:
        out = found.folder / "latency.json"
        again = f"eval latency {file} --dialogues {test} --out {out}"
        same_file(found, out, found.latency.get("artifact_sha256"), again)
    if found.winrate:
        first = judged_side(found.winrate, found.winrate.get("first"))
        source = found.folder / "judged/winrate.json"
        same_file(found, source, first.get("artifact_sha256"), judge_again(found))
        for side in filter(None, (found.student, found.base)):
            same_answers(found, found.winrate, side)
    same_comparison(found)
    same_measures(found)
    if found.base:
        same_base(found, found.base)
    same_training(found)
    same_sets(found)


def same_file(found: Evidence, source: Path, measured: str | None, again: str) -> None:
    """What was measured is the file of the report."""
    key = found.sha256
    if key is None or measured == key:
        return
    name = found.artifact.path if found.artifact else "the answers"
    raise CheckFailed(
        f"{source} does not belong to {name} ({stated(measured)}, expected {key[:8]}...); "
        f"measure that file with: distill {again}"
    )


def stated(sha256: str | None) -> str:
    return f"sha256 {sha256[:8]}..." if sha256 else "it states no sha256"


def judged_side(winrate: dict[str, Any], candidate: str | None) -> dict[str, Any]:
    side: dict[str, Any] = winrate.get("candidates", {}).get(candidate, {})
    return side


def judge_again(found: Evidence) -> str:
    names = [(found.winrate or {}).get(side, side) for side in ("first", "second")]
    files = " ".join(str(found.folder / f"answers/{name}.jsonl") for name in names)
    test = found.folder / "sets/test.jsonl"
    return f"eval winrate {files} --dialogues {test} --out {found.folder / 'judged'}"


def same_answers(found: Evidence, winrate: dict[str, Any], side: AnswerFile) -> None:
    """The verdicts are on the very answers that lie here now."""
    judged = judged_side(winrate, side.candidate).get("answers_sha256")
    same_texts(found.folder / "judged/winrate.json", judged, side, judge_again(found))


def same_comparison(found: Evidence) -> None:
    """Every couple was judged on the answers that lie here now, and the student is this file."""
    out, test = found.folder / "compared", found.folder / "sets/test.jsonl"
    sides = {side.candidate: side for side in found.candidates}
    for couple in (found.comparison or {}).get("couples") or []:
        for name, held in couple.get("candidates", {}).items():
            files = " ".join(str(side.path) for side in found.candidates)
            again = f"eval compare {files} --dialogues {test} --out {out}"
            if found.student and name == found.student.candidate:
                same_file(found, out / "comparison.json", held.get("artifact_sha256"), again)
            if side := sides.get(name):
                same_texts(out / "comparison.json", held.get("answers_sha256"), side, again)


def same_measures(found: Evidence) -> None:
    """What was measured are the answers that lie here now."""
    test = found.folder / "sets/test.jsonl"
    for side in found.candidates:
        if held := found.measures.get(side.candidate):
            out = found.folder / f"measures/{side.candidate}.json"
            again = f"eval measure {side.path} --dialogues {test} --out {out}"
            same_texts(out, held.get("answers_sha256"), side, again)


def same_texts(source: Path, measured: str | None, side: AnswerFile, again: str) -> None:
    expected = sha256_of(side.path)
    if measured != expected:
        raise CheckFailed(
            f"{source} is about other answers than {side.path} ({stated(measured)}, expected "
            f"{expected[:8]}...); do it again with: distill {again}"
        )


def same_base(found: Evidence, base: AnswerFile) -> None:
    """Where the compared file was exported here too, its answers are of that export."""
    exports = sorted((found.folder / "edge").glob(f"{base.candidate}-*{BESIDE}"))
    names = [path.name.removesuffix(BESIDE) for path in exports]
    digests = [stated_digest(read_manifest(found.folder / "edge" / n), n) or "" for n in names]
    if digests and base.artifact_sha256 not in digests:
        name = names[0]
        raise CheckFailed(
            f"{base.path} does not belong to {found.folder / 'edge' / name} "
            f"({stated(base.artifact_sha256)}, expected {digests[0][:8]}...); answer again with: "
            f"distill eval answer {found.folder / 'edge' / name} --name {base.candidate} "
            f"--dialogues {found.folder / 'sets/test.jsonl'} --out {base.path}"
        )


def same_training(found: Evidence) -> None:
    """The file was exported from the student that lies here, as far as both say what made it."""
    if found.artifact is None or found.provenance is None:
        return
    manifest = found.artifact.manifest.model_dump()
    for key, what in {"recipe_sha256": "recipe", "data_sha256": "data"}.items():
        exported, trained = manifest[key], found.provenance.get(key)
        if exported and trained and exported != trained:
            raise CheckFailed(
                f"{found.artifact.path} was made from another {what} than "
                f"{found.folder / 'student'}, which was trained again since; export it with: "
                f"distill export {found.artifact.format} {found.folder / 'student'} "
                f"--out {found.artifact.path}"
            )


def same_sets(found: Evidence) -> None:
    """The data sets that are described are those that the student learnt from."""
    for name, sha256 in ((found.provenance or {}).get("data_sha256") or {}).items():
        path = found.folder / "sets" / name
        if path.exists() and sha256_of(path) != sha256:
            raise CheckFailed(
                f"{path} is not what {found.folder / 'student'} was trained on (expected "
                f"{stated(sha256)}); compose that set again, or train and export again"
            )
