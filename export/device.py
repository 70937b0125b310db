"""What a device offers an app, and what a file takes of it.

In: the name of a profile or a YAML file; a GGUF file. Out: `Profile`; `Memory` in bytes. Refused:
an unknown name, a profile with unknown, missing or senseless fields (BadInput).
"""

import re
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import llama_cpp
import yaml
from pydantic import BaseModel, ConfigDict, Field

from distill.core.errors import BadInput, CheckFailed
from distill.core.jsonl import existing, plain_reason
from export.native_log import captured, reason

BUFFER = re.compile(r"(KV|compute|output) +buffer size += +([0-9.]+) MiB")
MIB = 2**20
# As the runtime opens a file.
CHUNK = 256


class Profile(BaseModel):
    """Memory for the app as a whole, threads and context with which it runs a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    app_memory_bytes: int = Field(gt=0)
    threads: int = Field(gt=0)
    context_tokens: int = Field(gt=0)


@dataclass(frozen=True)
class Memory:
    """Bytes of a file at work: weights, cache of keys and values, buffers of llama.cpp."""

    weights: int
    cache: int
    buffers: int

    @property
    def total(self) -> int:
        return self.weights + self.cache + self.buffers

    def record(self) -> dict[str, int]:
        return asdict(self) | {"total": self.total}


def profile_named(name: str) -> Profile:
    """A bundled profile, or one from a YAML file."""
    folder = Path(str(resources.files("export").joinpath("profiles")))
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name not in known and not name.endswith((".yaml", ".yml")):
        raise BadInput(f"device '{name}' is not known; choose {', '.join(known)}, or a FILE.yaml")
    path = known.get(name) or existing(Path(name))
    try:
        return Profile.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (ValueError, yaml.YAMLError) as error:
        said = plain_reason(error) if isinstance(error, ValueError) else "not valid YAML"
        raise BadInput(f"{path} is no device profile: {said}") from error


def memory_of(path: Path, profile: Profile) -> Memory:
    """Open the file as the runtime does and read what llama.cpp says that it allocates."""
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    params = llama_cpp.llama_context_default_params()
    params.n_batch = params.n_ubatch = CHUNK
    params.n_threads = params.n_threads_batch = profile.threads
    with captured() as log:
        llama_cpp.llama_backend_init()
        model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not model:
            raise CheckFailed(f"llama.cpp does not open {path}: {reason(log)}")
        trained = llama_cpp.llama_model_n_ctx_train(model)
        params.n_ctx = min(profile.context_tokens, trained or profile.context_tokens)
        opened = llama_cpp.llama_init_from_model(model, params)
        llama_cpp.llama_free(opened)
        llama_cpp.llama_model_free(model)
    found = {"KV": 0.0, "compute": 0.0, "output": 0.0}
    for line in log:
        for kind, mebibytes in BUFFER.findall(line):
            found[kind] += float(mebibytes)
    assert found["KV"] and found["compute"], "llama.cpp says what it allocates"
    buffers = found["compute"] + found["output"]
    return Memory(path.stat().st_size, int(found["KV"] * MIB), int(buffers * MIB))
