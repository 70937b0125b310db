"""Uploading to the Hugging Face hub, which happens only when it was asked for twice.

In: a written file and a repository. Out: its address. Refused: an upload without the word
(BadInput), without a token or a connection (Unavailable).
"""

from pathlib import Path
from typing import Any

from distill.core.errors import BadInput, Unavailable
from distill.core.manifest import manifest_path, read_manifest

CARD = "README.md"


def refuse_unasked(repository: str | None, yes: bool) -> None:
    """Before any work: publishing is for a person to say, once with a name and once with a yes."""
    if repository is None:
        if yes:
            raise BadInput("--yes-publish publishes nothing by itself; name the place with --push")
        return
    if repository.count("/") != 1:
        raise BadInput(f"--push {repository} is no OWNER/NAME of the Hugging Face hub")
    if not yes:
        raise BadInput(
            f"--push {repository} would publish the student; read its licence chain and data, then "
            "say so with --yes-publish"
        )


def upload(artifact: Path, repository: str, api: Any = None) -> str:
    """Upload the file, what its manifest names, manifest, Modelfile and card; a private repo."""
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HTTPError  # type: ignore[attr-defined]

    if not get_token():
        raise Unavailable(
            f"{artifact} was written and not uploaded: no token; set HF_TOKEN or run `hf auth "
            "login`, then export again"
        )
    api = api or HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        operations = [CommitOperationAdd(path.name, path) for path in parts(artifact)]
        api.create_commit(repository, operations, commit_message=f"Upload {artifact.name}")
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise Unavailable(
            f"{artifact} was written and not uploaded to {repository}: {str(error).splitlines()[0]}"
        ) from error
    return f"uploaded to {repository}, which is private until you change that"


def parts(artifact: Path) -> list[Path]:
    """Every file of the artifact that is there."""
    named = [artifact.parent / file.path for file in read_manifest(artifact).files]
    beside = [manifest_path(artifact), artifact.with_suffix(".Modelfile"), artifact.parent / CARD]
    return [path for path in [*named, *beside] if path.exists()]
