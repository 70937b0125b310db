"""The machine: processor, memory, disk, GPU, programs, and which keys are set.

In: what the system tells, and what torch says of GPUs. Out: checks. A key's value is never read
further than to see that it is not empty, and never printed. Nothing is refused.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.checkup.check import Check, verdict
from distill.core.machine import (
    PROC,
    installed_browser,
    physical_cores,
    processor_facts,
    processor_name,
)

GB = 1e9
WALK_MEMORY_BYTES = 2_000_000_000  # the starter's training peaks at 1.96 GB (docs/benchmarks.md)
WALK_DISK_BYTES = 1_000_000_000
FEATURES = (
    *("avx2", "fma", "f16c", "avx512f", "avx512_bf16", "avx_vnni", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
KEYS = {
    "OPENAI_API_KEY": "teachers and judges of OpenAI",
    "GEMINI_API_KEY": "teachers and judges of Gemini (or GOOGLE_API_KEY)",
    "KINDRED_API_KEY": "serving to other machines",
    "HF_TOKEN": "private or gated models of the Hugging Face hub",
}
SAME_KEY = {"GEMINI_API_KEY": ("GOOGLE_API_KEY",)}


def check_processor(proc: Path = PROC) -> Check:
    """Cores that this process may use, and what the processor offers to the kernels."""
    told = processor_facts(proc)
    flags = set((told.get("flags") or told.get("Features") or "").split())
    has = " ".join(feature for feature in FEATURES if feature in flags) or "features not known"
    found = f"{processor_name(proc)}; {physical_cores()} cores usable; {has}"
    return Check("processor", "ok", found)


def check_memory(proc: Path = PROC, cgroup: Path = Path("/sys/fs/cgroup")) -> Check:
    """Memory within the limit of a container, and what is free of it now."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = cgroup / "memory.max"
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        total = min(total, int(text))
    text = f"{total / GB:.1f} GB"
    if (meminfo := proc / "meminfo").exists():
        rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in rows:
            text += f", {int(rows['MemAvailable'].split()[0]) * 1024 / GB:.1f} GB available now"
    enough = total >= WALK_MEMORY_BYTES
    remedy = (
        "" if enough else f"the walk takes {WALK_MEMORY_BYTES / GB:.0f} GB; use another machine"
    )
    return Check("memory", verdict(enough, needed=True), text, remedy)


def check_disk(runs: Path) -> Check:
    """What is free where the runs lie, or will lie."""
    there = next(folder for folder in (runs, *runs.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    enough = free >= WALK_DISK_BYTES and os.access(there, os.W_OK)
    text = f"{free / GB:.1f} GB free under {runs}/"
    text += "" if os.access(there, os.W_OK) else ", which may not be written to"
    remedy = "" if enough else f"the walk takes {WALK_DISK_BYTES / GB:.0f} GB; run it elsewhere"
    return Check("disk", verdict(enough, needed=True), text, remedy)


def check_gpu(torch: Mapping[str, Any]) -> Check:
    """The GPU that torch can use; training runs on the processor without one."""
    if gpus := torch.get("gpus"):
        return Check("gpu", "ok", "; ".join(gpus))
    if torch.get("metal"):
        return Check("gpu", "ok", "Apple's, through Metal")
    if torch and shutil.which("nvidia-smi"):
        text = f"an NVIDIA driver is here, and torch {torch.get('version')} sees no GPU"
        return Check("gpu", "absent", text, "install torch's CUDA build (pytorch.org) first")
    return Check("gpu", "absent", "none; training and serving run on the processor")


def check_keys(environment: Mapping[str, str]) -> list[Check]:
    """Which keys are set; never what they are."""
    checks = []
    for name, purpose in KEYS.items():
        there = next((n for n in (name, *SAME_KEY.get(name, ())) if environment.get(n)), None)
        text = "set" if there else f"not set; needed only for {purpose}"
        checks.append(Check(f"key {there or name}", verdict(bool(there), needed=False), text))
    return checks


def check_programs() -> list[Check]:
    """Programs that some commands can use; the walk needs neither."""
    found = installed_browser()
    text = found or "not found; needed only for tests of pages and speed in a browser"
    compiler = next((path for name in ("cc", "clang", "cl") if (path := shutil.which(name))), None)
    built = compiler or "not found; needed only to build llama-cpp-python, and by torch.compile"
    return [
        Check("chromium", verdict(found is not None, needed=False), text),
        Check("C compiler", verdict(compiler is not None, needed=False), built),
    ]
