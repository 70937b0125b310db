"""What a file takes of a device's memory when the runtime opens it there.

In: a GGUF file, a profile of the runtime. Out: `Memory` in bytes. Refused: a file that llama.cpp
does not open (CheckFailed).
"""

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import llama_cpp

from distill.core.errors import CheckFailed
from export.native_log import captured, reason
from runtime.backends.llama_cpp import CHUNK
from runtime.device import Profile
from runtime.engine import SEQUENCES_PER_REPLY

BUFFER = re.compile(r"(KV|compute|output) +buffer size += +([0-9.]+) MiB")
MIB = 2**20


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


def memory_of(path: Path, profile: Profile) -> Memory:
    """Open the file as the runtime does and read what llama.cpp says that it allocates."""
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    params = llama_cpp.llama_context_default_params()
    params.n_batch = params.n_ubatch = CHUNK
    params.n_seq_max = params.n_outputs_max = profile.parallel * SEQUENCES_PER_REPLY
    params.kv_unified = True
    params.n_threads = params.n_threads_batch = profile.cores()
    with captured() as log:
        llama_cpp.llama_backend_init()
        model: Any = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
        if not model:
            raise CheckFailed(f"llama.cpp does not open {path}: {reason(log)}")
        trained = llama_cpp.llama_model_n_ctx_train(model)
        params.n_ctx = min(profile.context, trained or profile.context)
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
