"""What was measured of the replies without a judge, with what each figure is not.

In: evidence with measures. Out: a section with a column for each candidate.
"""

from typing import Any

from eval.pages.evidence import Evidence
from eval.pages.page import Section, Table
from eval.pages.wording import NOT_MEASURED, count

TITLE = "Measures without a judge"
ABSENT = "Not measured: measures/NAME.json is not there. Measure it with: distill eval measure."


def measured(found: Evidence) -> Section:
    """The student's figures first; a measure that only others have is shown too."""
    if not found.measures:
        return Section("measures", TITLE, absent=ABSENT)
    held = ordered(found)
    figures = {name: by_name(one) for name, one in held.items()}
    names = list(dict.fromkeys(measure for one in figures.values() for measure in one))
    rows = [
        (said(name, figures), *(cell(one.get(name)) for one in figures.values())) for name in names
    ]
    kinds = {name: first_of(name, figures) for name in names}
    described = [
        (worded(name), str(one["means"]), str(one["is_not"])) for name, one in kinds.items()
    ]
    tables = [
        Table("Figures with 95 % intervals", ("measure", *held), rows),
        Table("What they mean", ("measure", "is", "is not"), described),
    ]
    return Section("measures", TITLE, beside=notes(held), tables=[*tables, *absences(held)])


def ordered(found: Evidence) -> dict[str, dict[str, Any]]:
    """Measures by candidate, in the order in which the candidates are shown elsewhere."""
    first = [side.candidate for side in found.candidates]
    names = [name for name in first if name in found.measures]
    return {name: found.measures[name] for name in dict.fromkeys([*names, *found.measures])}


def by_name(one: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {figure["name"]: figure for figure in one.get("measures") or []}


def first_of(name: str, figures: dict[str, dict[str, dict[str, Any]]]) -> dict[str, Any]:
    return next(one[name] for one in figures.values() if name in one)


def said(name: str, figures: dict[str, dict[str, dict[str, Any]]]) -> str:
    unit = first_of(name, figures).get("unit")
    return f"{worded(name)}, {unit}" if unit else worded(name)


def worded(name: str) -> str:
    """A name that a narrow column can break."""
    return name.replace("_", " ")


def cell(figure: dict[str, Any] | None) -> str:
    if figure is None or figure.get("value") is None:
        return NOT_MEASURED
    interval = figure.get("interval")
    ends = f" ({brief(interval[0])} to {brief(interval[1])})" if interval else ""
    return brief(figure["value"]) + ends


def brief(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def notes(held: dict[str, dict[str, Any]]) -> list[str]:
    """Over what, and against which references."""
    return [
        f"{name}: {count(one.get('count', 0), 'reply')}, references: "
        f"{one.get('reference') or 'none'}."
        for name, one in held.items()
    ]


def absences(held: dict[str, dict[str, Any]]) -> list[Table]:
    """Families that were not measured, and why, said once for all candidates that lack them."""
    missing = [pair for one in held.values() for pair in (one.get("absent") or {}).items()]
    rows = [
        (worded(name), str(why).removeprefix(f"{NOT_MEASURED}: "))
        for name, why in dict.fromkeys(missing)
    ]
    return [Table("Not measured", ("measure", "why"), rows)] if rows else []
