"""Why a comparison ends as it does, in one line.

In: a result as `winrate.json` and `comparison.json` hold it. Out: a sentence that claims no more
than the interval and the sign test allow, and says what so many pairs could have shown.
"""

from collections.abc import Mapping
from typing import Any

from eval.pages.wording import chance, count, percent

EVEN = 0.5
UNDECIDED = ("ties", "flips", "split", "unreadable", "failed")


def reason(result: Mapping[str, Any]) -> str:
    """Better, worse or not distinguishable, with the figures that decide it."""
    first, second, finding = result["first"], result["second"], result["finding"]
    told = finding != "not distinguishable"
    claim = f"{first} is {finding} than {second}" if told else f"{first} and {second} are {finding}"
    if not result["decided"]:
        return f"{claim}: none of {count(result['pairs'], 'pair')} was decided ({rest(result)})"
    low, high = map(percent, result["interval"])
    decided = count(result["decided"], "decided pair")
    said = (
        f"{claim}: {first} wins {percent(result['win_rate'])} of {decided} (95 % interval {low} "
        f"to {high}, sign test {chance(result['sign_test'])})"
    )
    if not told:
        least = percent(result["detectable_win_rate"])
        return f"{said}; so many show a win rate of {least} or more, four times in five"
    return said + length_doubt(result)


def rest(result: Mapping[str, Any]) -> str:
    """What the pairs were that nobody won."""
    found = {name: result.get(name) for name in UNDECIDED}
    return ", ".join(f"{name} {n}" for name, n in found.items() if n) or "there were none"


def length_doubt(result: Mapping[str, Any]) -> str:
    """Said when the difference may be one of length."""
    control = result.get("length_controlled")
    if not control or not control["low"] <= EVEN <= control["high"]:
        return ""
    low, high = percent(control["low"]), percent(control["high"])
    rate = percent(control["rate"])
    return f"; at equal length that is not shown ({rate}, 95 % interval {low} to {high})"
