"""Devices: what each offers an app, and this process held to it.

In: the name of a bundled profile (the one list that serving and exporting share), or a YAML file.
Out: a `Profile`; this process, held to so many processor cores and so much memory of its own (the
weights are mapped from the file and count against the same sum).
Refused: an unknown name or a broken file (BadInput), a file that is missing (MissingInput), a model
that cannot fit (BadInput), and a system without such limits (Unavailable).
"""

import os
from importlib import resources
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from distill.core.errors import BadInput, MissingInput, Unavailable
from distill.core.jsonl import plain_reason
from distill.core.machine import physical_cores

NAMES = ("phone-4gb", "phone-6gb", "phone-8gb", "laptop")
LEAST_MB = 256  # the interpreter, the server and an empty cache


class Profile(BaseModel):
    """A device: its threads (absent: all physical cores), memory for us, and how it is used."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    says: str
    threads: int | None = Field(None, ge=1)
    memory_mb: int = Field(ge=LEAST_MB)
    context: int = Field(ge=1)
    parallel: int = Field(ge=1)

    @property
    def room_bytes(self) -> int:
        """For weights, cache and buffers together; a file that keeps it is one that is served."""
        return (self.memory_mb - LEAST_MB) * 2**20

    def cores(self) -> int:
        return min(self.threads or physical_cores(), physical_cores())


def read_profile(name: str) -> Profile:
    """A bundled profile, or that of a file."""
    if name in NAMES:
        content = (resources.files(__package__) / "profiles" / f"{name}.yaml").read_text("utf-8")
    elif not name.endswith((".yaml", ".yml")):
        raise BadInput(f"there is no profile {name}; use {', '.join(NAMES)} or a .yaml file")
    elif not Path(name).is_file():
        raise MissingInput(f"{name} is no file; use {', '.join(NAMES)} or write one like them")
    else:
        content = Path(name).read_text("utf-8", "replace")
    try:
        return Profile.model_validate(yaml.safe_load(content))
    except (ValidationError, yaml.YAMLError) as error:
        reason = plain_reason(error) if isinstance(error, ValueError) else "it is not YAML"
        raise BadInput(f"{name} is no device profile: {reason}") from error


def hold_to(profile: Profile, file: Path) -> None:
    """Cap this process for good, threads that it starts later included."""
    size_bytes = sum(part.stat().st_size for part in parts(file))
    if size_bytes > profile.room_bytes:
        raise BadInput(
            f"{file} takes {size_bytes / 2**20:.0f} MB, and of the profile's {profile.memory_mb} "
            f"MB {LEAST_MB} are needed beside it; export it with fewer bits, or choose another "
            "profile"
        )
    if not hasattr(os, "sched_setaffinity"):
        raise Unavailable("this system cannot hold a process to a device profile; leave it out")
    import resource

    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, allowed[: profile.cores()])
    # What a process writes, its weights apart, which are pages of the file.
    limit = profile.memory_mb * 2**20 - size_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def parts(file: Path) -> list[Path]:
    return [part for part in file.rglob("*") if part.is_file()] if file.is_dir() else [file]
