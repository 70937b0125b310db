"""One sentence on which a person can decide: better or not, how fast, how big, by whose word.

In: evidence. Out: a sentence that claims no more than was measured.
"""

from typing import Any

from eval.pages.artifact import FAILED, PASSED, bits_per_weight, gate_result
from eval.pages.comparison import (
    NOTHING,
    agreement,
    decided,
    interval_text,
    pairs,
    win_rate,
)
from eval.pages.evidence import Evidence
from eval.pages.wording import count, percent, rate, seconds, size

EVEN = 0.5


def summary(found: Evidence) -> str:
    return f"{subject(found)} {compared(found.winrate)}; {speed(found.latency)}."


def subject(found: Evidence) -> str:
    """The file with its size and bits, and its gate when that is not passed."""
    if found.artifact is None:
        return f"{found.name} (no exported file)"
    bits = bits_per_weight(found.artifact)
    parts = [size(found.artifact.size_bytes)]
    parts += [f"{bits:.2f} bits per weight"] if bits else []
    gate = gate_result(found.artifact)
    if gate != PASSED:
        parts.append("parity gate FAILED" if gate == FAILED else "parity gate not recorded")
    return f"{found.name} ({', '.join(parts)})"


def compared(result: dict[str, Any] | None) -> str:
    """Better, worse or neither: by where the whole interval lies, never by the rate alone."""
    if result is None:
        return "was not compared with its base"
    second = result.get("second", "base")
    by = f"by the judge {result.get('judge', 'not stated')}"
    share, interval = win_rate(result), interval_text(result)
    if share is None:
        return f"was compared with {second} on {count(pairs(result), 'pair')}, and {NOTHING} {by}"
    low, high = result.get("interval") or (0.0, 1.0)
    verb = "beats" if low > EVEN else "loses to" if high < EVEN else "is not shown to differ from"
    known = f"95 % interval {interval}" if interval else "interval not measured"
    return (
        f"{verb} {second}: it wins {percent(share)} of "
        f"{count(decided(result), 'decided pair')} ({known}) {by} – {agreement(result)}"
    )


def speed(latency: dict[str, Any] | None) -> str:
    if latency is None:
        return "its speed and memory were not measured"
    return (
        f"first token after {seconds(latency.get('first_token_s'))}, "
        f"{rate(latency.get('tokens_per_s'))}, "
        f"{size(latency.get('peak_memory_bytes'))} of memory at its peak"
    )
