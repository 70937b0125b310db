"""The energy that the processor's own counters report, where they do (Linux powercap, RAPL).

In: the folder of the counters. Out: joules, or the reason why none are reported; never zero for
what was not measured. They are of the whole package, other work and idling included.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6


@dataclass
class EnergyMeter:
    """Sums what the counters of all packages rose by; `step` often enough that none wraps twice."""

    folder: Path = POWERCAP
    joules: float = 0.0
    tokens: int = 0
    _last: dict[Path, int] = field(default_factory=dict)
    reason: str | None = None

    def __post_init__(self) -> None:
        packages = [path for path in sorted(self.folder.glob("*:*")) if is_package(path)]
        if not packages:
            self.reason = "this machine has no counters of energy (powercap)"
            return
        try:
            self._last = {path: counter(path) for path in packages}
        except OSError:
            self.reason = f"{packages[0] / 'energy_uj'} cannot be read by this user"

    def begin(self) -> None:
        """Forget what was used since the last reply."""
        self._last = {path: counter(path) for path in self._last}

    def step(self, tokens: int) -> None:
        """Add what was used since the last look, and the tokens that came of it."""
        for path, before in self._last.items():
            now = counter(path)
            if now < before:  # the counter went round
                before -= int((path / "max_energy_range_uj").read_text())
            self.joules += (now - before) * MICRO
            self._last[path] = now
        self.tokens += tokens

    def found(self) -> dict[str, Any]:
        if self.reason or not self.tokens:
            return {"reported": False, "reason": self.reason or "no token was computed"}
        return {
            "reported": True,
            "joules": self.joules,
            "tokens": self.tokens,
            "joules_per_token": self.joules / self.tokens,
            "source": f"powercap, {len(self._last)} package(s), whole processor",
        }


def is_package(path: Path) -> bool:
    """One socket; its parts, and the platform that holds it, would be counted twice."""
    name = path / "name"
    return name.is_file() and name.read_text().startswith("package")


def counter(path: Path) -> int:
    return int((path / "energy_uj").read_text())
