"""The digest by which an exported artifact is known, be it a file or a folder.

In: an artifact, or its manifest. Out: a sha256: of a file its own, of a folder that of the files
which its manifest names in it, so that nothing else that lies there changes it. Refused: what
is not there (MissingInput), a manifest that is none (CheckFailed).
"""

from pathlib import Path

from distill.core.jsonl import folder_digest, sha256_of
from distill.core.manifest import ArtifactManifest, FileDigest, manifest_path, read_manifest
from distill.core.naming import named


def own_files(manifest: ArtifactManifest, name: str) -> list[FileDigest]:
    """The files of the artifact itself, without what only stands beside it."""
    return [f for f in manifest.files if f.path == name or f.path.startswith(f"{name}/")]


def stated_digest(manifest: ArtifactManifest, name: str) -> str | None:
    """What a manifest says of its artifact, None where it does not name it."""
    own = {file.path: file.sha256 for file in own_files(manifest, name)}
    if name in own:
        return own[name]
    inside = {path.removeprefix(f"{name}/"): sha256 for path, sha256 in own.items()}
    return folder_digest(inside) if inside else None


def told_digest(artifact: Path) -> str | None:
    """What the manifest beside an artifact says of it, None where there is none."""
    if not manifest_path(artifact).exists():
        return None
    return stated_digest(read_manifest(artifact), named(artifact).name)


def digest_of(artifact: Path) -> str:
    """The digest of an artifact; a folder's manifest is taken at its word."""
    return (told_digest(artifact) if artifact.is_dir() else None) or sha256_of(artifact)
