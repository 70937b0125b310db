"""All candidates against each other: who is better than whom, and why that may be said.

In: evidence with a comparison. Out: a section, or None where fewer than three candidates answered
and nobody compared them. What is said of a couple is what `distill eval compare` said.
"""

from typing import Any

from eval.pages.comparison import ends_of, rate_of
from eval.pages.evidence import Evidence
from eval.pages.page import Section, Table
from eval.pages.plots import strength_plot
from eval.pages.wording import percent

TITLE = "Candidates against each other"


def ranking(found: Evidence) -> Section | None:
    held = found.comparison
    if held is None:
        if len(found.candidates) < 3:
            return None
        said = (
            "Not measured: compared/comparison.json is not there. Measure it with: "
            "distill eval compare."
        )
        return Section("ranking", TITLE, absent=said)
    strengths = held.get("strengths") or []
    return Section(
        "ranking",
        TITLE,
        beside=[f"{one['reason']}." for one in held["couples"]],
        figures=[strength_plot(strengths)] if len(strengths) > 1 else [],
        tables=[matrix(held["couples"]), strength_table(strengths), couples(held["couples"])],
    )


def matrix(couples: list[dict[str, Any]]) -> Table:
    """How often the row wins against the column, of decided pairs."""
    names = list(dict.fromkeys(one[side] for one in couples for side in ("first", "second")))
    rates: dict[tuple[str, str], str] = {}
    for one in couples:
        rate = one.get("win_rate")
        pair = one["first"], one["second"]
        rates[pair] = percent(rate) if rate is not None else "no rate"
        rates[pair[::-1]] = percent(1 - rate) if rate is not None else "no rate"
    rows = [(row, *(rates.get((row, column), "") for column in names)) for row in names]
    return Table("Wins of the row against the column", ("candidate", *names), rows)


def strength_table(strengths: list[dict[str, Any]]) -> Table:
    rows = [
        (
            one["candidate"],
            f"{one['log_odds']:+.2f}",
            f"{one['low']:+.2f} to {one['high']:+.2f}",
            percent(one["chance"]),
        )
        for one in strengths
    ]
    columns = ("candidate", "log-odds", "95 % interval", "wins against the others")
    return Table("Strengths (Bradley and Terry)", columns, rows)


def couples(held: list[dict[str, Any]]) -> Table:
    rows = []
    for one in held:
        rate, interval = rate_of(one.get("win_rate"), one.get("interval"))
        control = one.get("length_controlled")
        equal, _ = rate_of(control and control["rate"], ends_of(control))
        rows.append(
            (
                f"{one['first']} against {one['second']}",
                rate,
                interval.removeprefix("95 % interval "),
                equal,
                percent(one.get("flip_rate")),
                str(one["finding"]),
            )
        )
    columns = ("couple", "wins", "95 % interval", "at equal length", "flips", "so the first is")
    return Table("Each couple", columns, rows)
