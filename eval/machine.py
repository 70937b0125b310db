"""The machine that was measured on, and the memory of a process on it."""

import os
import platform
from pathlib import Path
from typing import Any

import psutil

from distill.core.machine import PROC, physical_cores, processor_name

KIB = 1024


class MemoryWatch:
    """Looks at a process now and then, and keeps the most of each kind that it saw.

    Private is what the process wrote itself and the system must keep; file-backed are pages of
    files, the weights first of all, which the system may drop and read again.
    """

    def __init__(self, pid: int, proc: Path = PROC) -> None:
        self.pid, self.folder = pid, proc / str(pid)
        self._most: dict[str, int] = {}

    def look(self) -> None:
        for name, value in self._now().items():
            self._most[name] = max(value, self._most.get(name, 0))

    def found(self) -> dict[str, Any]:
        """Peaks in bytes, and where each number is from; the kinds need not peak together."""
        self.look()
        return {**peak_of(self.pid, self.folder.parent), **self._most, **self._source()}

    def _now(self) -> dict[str, int]:
        """`private_bytes` and `file_backed_bytes` as the system counts them; empty elsewhere."""
        if held := self._rollup():
            return {
                "private_bytes": held["Anonymous"],
                "file_backed_bytes": held["Rss"] - held["Anonymous"],
            }
        held = fields_of(self.folder / "status")
        known = {"private_bytes": "RssAnon", "file_backed_bytes": "RssFile"}
        return {name: held[key] for name, key in known.items() if key in held}

    def _rollup(self) -> dict[str, int]:
        return fields_of(self.folder / "smaps_rollup")

    def _source(self) -> dict[str, str]:
        if not self._most:
            return {}
        return {"split_source": "smaps_rollup" if self._rollup() else "status"}


def fields_of(path: Path) -> dict[str, int]:
    """The lines of a /proc file that count kilobytes, in bytes; none where it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    split = [line.partition(":") for line in lines if line.endswith(" kB")]
    return {name: int(value.split()[0]) * KIB for name, _, value in split}


def peak_of(pid: int, proc: Path = PROC) -> dict[str, Any]:
    """Peak resident bytes of a process, mapped file pages included, and where the number is from.

    Linux keeps the peak itself; Windows too; elsewhere it is what is resident now.
    """
    if peak := fields_of(proc / str(pid) / "status").get("VmHWM"):
        return {"peak_memory_bytes": peak, "peak_memory_source": "VmHWM of the serving process"}
    memory = psutil.Process(pid).memory_info()
    if peak := getattr(memory, "peak_wset", None):
        return {"peak_memory_bytes": peak, "peak_memory_source": "peak working set"}
    return {
        "peak_memory_bytes": memory.rss,
        "peak_memory_source": "resident after the last reply, no peak is kept here",
    }


def threads_of(pid: int) -> int | None:
    """How many processors a process is held to; None where the system does not say."""
    affinity = getattr(psutil.Process(pid), "cpu_affinity", None)
    return len(affinity()) if affinity else None


def load() -> float | None:
    """How many processes wanted a processor in the last minute, ours included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def described() -> dict[str, Any]:
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
        "physical_cores": psutil.cpu_count(logical=False),
        "logical_cores": psutil.cpu_count(),
        "usable_cores": physical_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "python": platform.python_version(),
    }
