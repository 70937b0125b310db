"""What an artifact is, written beside it as `NAME.manifest.json`.

In: the files of an export. Out: `ArtifactManifest`. Refused: a file whose digest differs
(CheckFailed), a missing manifest (MissingInput).
"""

import re
from importlib import metadata
from pathlib import Path
from typing import Any

from distill.core.errors import CheckFailed, MissingInput
from distill.core.jsonl import plain_reason, read_json, sha256_of, write_json
from distill.core.naming import named
from distill.core.records import Record

TOOLS = ("torch", "transformers", "peft", "trl", "gguf", "llama-cpp-python", "onnxruntime", "onnx")

BESIDE = ".manifest.json"  # after an artifact's whole name
BY_NAME = "asked for by name"  # the reason for a type, in `quantization`


class FileDigest(Record):
    """One file of an artifact."""

    path: str
    sha256: str
    size_bytes: int


class ArtifactManifest(Record):
    """Where a file came from and how near it is to what was trained."""

    files: list[FileDigest]
    student: str
    student_sha256: str
    base: str | None
    recipe_sha256: str | None
    data_sha256: dict[str, str]
    quantization: dict[str, Any]
    parity: dict[str, Any]
    tools: dict[str, str]

    @property
    def format(self) -> str:
        """`gguf` or `onnx`; a manifest that states none is a GGUF file's."""
        return str(self.quantization.get("format", "gguf"))

    @property
    def made_by(self) -> str:
        """The command that makes the artifact again: by its type's name where that was asked for,
        and else by the bits that stand in the name."""
        kind = str(self.quantization.get("type", ""))
        bits = re.search(r"\d+", kind)
        asked = f"--bits {bits[0] if bits else 4}"
        if self.quantization.get("reason") == BY_NAME:
            asked = f"--type {kind}"
        return f"distill export {self.format} {self.student} {asked}"


def manifest_path(artifact: Path) -> Path:
    whole = named(artifact)
    return whole.parent / f"{whole.name}{BESIDE}"


def describe(path: Path) -> FileDigest:
    return FileDigest(path=path.name, sha256=sha256_of(path), size_bytes=path.stat().st_size)


def write_manifest(artifact: Path, manifest: ArtifactManifest) -> None:
    write_json(manifest_path(artifact), manifest.model_dump())


def read_manifest(artifact: Path) -> ArtifactManifest:
    path = manifest_path(artifact)
    if not path.exists():
        raise MissingInput(
            f"{path} does not exist; an export writes it beside {named(artifact).name}: take it "
            "from there, or export again"
        )
    try:
        return ArtifactManifest.model_validate(read_json(path))
    except ValueError as error:
        raise CheckFailed(f"{path} is not a manifest: {plain_reason(error)}") from error


def check_files(artifact: Path) -> ArtifactManifest:
    """The manifest, once every file it names has the digest it names."""
    manifest = read_manifest(artifact)
    folder = named(artifact).parent
    for file in manifest.files:
        found = sha256_of(folder / file.path)
        if found != file.sha256:
            raise CheckFailed(
                f"{folder / file.path} does not match its manifest (sha256 {found[:8]}..., "
                f"expected {file.sha256[:8]}...); export it again with: {manifest.made_by}"
            )
    return manifest


def tool_versions() -> dict[str, str]:
    """Versions of the tools that shape an artifact, of those that are installed."""
    installed = {d.name.lower(): d.version for d in metadata.distributions() if d.name}
    return {tool: installed[tool] for tool in TOOLS if tool in installed}
