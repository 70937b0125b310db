"""Figures as people read them: shares, seconds, bytes, digests.

In: numbers, or None for what was not measured. Out: short texts; None is always said, as
`NOT_MEASURED`, and never becomes a number.
"""

from collections.abc import Callable, Mapping

NOT_MEASURED = "not measured"
NOT_RECORDED = "not recorded"
LITTLE = 0.001
Form = Callable[[float | None], str]


def percent(share: float | None) -> str:
    """Whole percent; what is nearly all is never rounded to all, nor little to nothing."""
    if share is None:
        return NOT_MEASURED
    whole = round(share * 100)
    if share in (0, 1) or whole not in (0, 100):
        return f"{whole} %"
    if share < LITTLE or share > 1 - LITTLE:
        return "< 0.1 %" if share < LITTLE else "> 99.9 %"
    return f"{share * 100:.1f} %"


def chance(value: float | None) -> str:
    """How probable something is by chance alone."""
    if value is None:
        return NOT_MEASURED
    return "p < 0.001" if value < LITTLE else f"p = {value:.3f}"


def seconds(value_s: float | None) -> str:
    if value_s is None:
        return NOT_MEASURED
    if value_s >= 1:
        return f"{value_s:.2f} s" if value_s < 10 else f"{value_s:.0f} s"
    return f"{value_s * 1000:.1f} ms" if value_s < 0.01 else f"{value_s * 1000:.0f} ms"


def size(value_bytes: float | None) -> str:
    """Decimal units, as file managers and shops count."""
    if value_bytes is None:
        return NOT_MEASURED
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value_bytes >= scale:
            shown = value_bytes / scale
            return f"{shown:.2f} {unit}" if unit == "GB" else f"{shown:.1f} {unit}"
    return f"{value_bytes:.0f} bytes"


def rate(value: float | None) -> str:
    """Tokens per second."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f} tokens/s" if value >= 100 else f"{value:.1f} tokens/s"


def number(value: float | None, digits: int = 1) -> str:
    return NOT_MEASURED if value is None else f"{value:,.{digits}f}"


def brief(value: float) -> str:
    """Three digits, as on a plot."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def spread(found: Mapping[str, float] | None, form: Form, key: str = "median") -> str:
    """A figure and its interval, with a unit that all three share said once."""
    if not found:
        return NOT_MEASURED
    middle = form(found[key])
    if "low" not in found:
        return middle
    low, high = form(found["low"]), form(found["high"])
    unit = f" {middle.partition(' ')[2]}"
    if low.endswith(unit) and high.endswith(unit):
        low, high = low.removesuffix(unit), high.removesuffix(unit)
    return f"{middle} ({low} to {high})"


def count(amount: int, noun: str) -> str:
    """`1 pair`, `3 pairs`, `2 replies`."""
    several = f"{noun[:-1]}ies" if noun.endswith("ply") else f"{noun}s"
    return f"{amount:,} {noun if amount == 1 else several}"


def plain(value: object) -> str:
    """A value of a manifest whose meaning we do not know, without JSON's marks."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, dict):
        told = (f"{name.replace('_', ' ')} {plain(inner)}" for name, inner in value.items())
        return ", ".join(told) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(plain(inner) for inner in value) or "none"
    return str(value)
