"""What several commands ask of this machine: its processor, its cores, and a browser.

In: nothing, or another /proc or /sys. Out: texts and a count. Nothing is refused; what is not told
is absent.
"""

import os
import platform
import shutil
from pathlib import Path

PROC = Path("/proc")
TOPOLOGY = Path("/sys/devices/system/cpu")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
# A window of its own loads a page for the address bar's suggestions, half a second of processor
# time beside the page that is asked for.
BROWSER_WORDS = ("--disable-features=WebUIOmniboxPopup,WebUIOmniboxAimPopup",)


def processor_facts(proc: Path = PROC) -> dict[str, str]:
    """The last core's lines of `cpuinfo`; empty where the system has none."""
    cpuinfo = proc / "cpuinfo"
    if not cpuinfo.exists():
        return {}
    rows = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in rows}


def processor_name(proc: Path = PROC) -> str:
    """The processor's own name, or its architecture's where the system does not tell it."""
    told = processor_facts(proc)
    name = told.get("model name") or told.get("Hardware")
    return name or platform.processor() or platform.machine()


def physical_cores(topology: Path = TOPOLOGY) -> int:
    """Physical cores within the affinity of this process; logical ones where they are unknown.

    A decoding thread gains nothing from a sibling on the same core.
    """
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({core_of(cpu, topology) for cpu in os.sched_getaffinity(0)})


def core_of(cpu: int, topology: Path) -> tuple[str, str]:
    folder = topology / f"cpu{cpu}" / "topology"
    try:
        package = (folder / "physical_package_id").read_text().strip()
        return package, (folder / "core_id").read_text().strip()
    except OSError:
        return "unknown", str(cpu)


def installed_browser() -> str | None:
    """The path of a Chromium of the system's own, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)
