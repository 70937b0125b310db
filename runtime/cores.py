"""How many physical cores this process may use: a decoding thread gains nothing from a sibling."""

import os
from pathlib import Path

TOPOLOGY = Path("/sys/devices/system/cpu")


def physical_cores(topology: Path = TOPOLOGY) -> int:
    """Physical cores within the affinity of this process; logical ones where they are unknown."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    allowed = os.sched_getaffinity(0)
    return len({core_of(cpu, topology) for cpu in allowed})


def core_of(cpu: int, topology: Path) -> tuple[str, str]:
    folder = topology / f"cpu{cpu}" / "topology"
    try:
        package = (folder / "physical_package_id").read_text().strip()
        return package, (folder / "core_id").read_text().strip()
    except OSError:
        return "unknown", str(cpu)
