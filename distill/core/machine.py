"""What several commands ask of this machine: its processor's own words, and a browser.

In: nothing, or another /proc. Out: text. Nothing is refused; what is not told is absent.
"""

import shutil
from pathlib import Path

PROC = Path("/proc")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def processor_facts(proc: Path = PROC) -> dict[str, str]:
    """The last core's lines of `cpuinfo`; empty where the system has none."""
    cpuinfo = proc / "cpuinfo"
    if not cpuinfo.exists():
        return {}
    rows = (line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in rows}


def installed_browser() -> str | None:
    """The path of a Chromium of the system's own, if there is one."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)
