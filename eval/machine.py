"""The machine that was measured on, and the memory of a process on it."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil

PROC = Path("/proc")
KIB = 1024


def memory_of(pid: int, proc: Path = PROC) -> dict[str, Any]:
    """Peak resident bytes of a process, mapped file pages included, and where the number is from.

    Linux keeps the peak itself; Windows too; elsewhere it is what is resident now.
    """
    status = proc / str(pid) / "status"
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        kept = {
            "peak_memory_bytes": "VmHWM",
            "anonymous_bytes": "RssAnon",
            "mapped_file_bytes": "RssFile",
        }
        found = {
            name: int(fields[key].split()[0]) * KIB for name, key in kept.items() if key in fields
        }
        return {**found, "peak_memory_source": "VmHWM of the serving process"}
    memory = psutil.Process(pid).memory_info()
    if peak := getattr(memory, "peak_wset", None):
        return {"peak_memory_bytes": peak, "peak_memory_source": "peak working set"}
    return {
        "peak_memory_bytes": memory.rss,
        "peak_memory_source": "resident after the last reply, no peak is kept here",
    }


def usable_cores() -> int:
    """Physical cores, and no more than this process may use."""
    physical = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else physical
    return min(physical, allowed)


def processor(proc: Path = PROC) -> str:
    """The processor's own name, where the system tells it."""
    cpuinfo = proc / "cpuinfo"
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(("model name", "Hardware")):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def described() -> dict[str, Any]:
    return {
        "processor": processor(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }
