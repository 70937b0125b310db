"""The win rate, with all that is needed to weigh it.

In: evidence. Out: a section. No rate is shown when nothing was decided; the judge, its version
and what was measured of its agreement with people stand beside the number.
"""

from typing import Any

from eval.pages.evidence import Evidence
from eval.pages.lengths import length_plot, length_table
from eval.pages.page import Figure, Headline, Section, Table
from eval.pages.plots import outcome_plot
from eval.pages.wording import NOT_MEASURED, chance, count, percent

NOTHING = "nothing was decided"
UNKNOWN_AGREEMENT = "its agreement with people was not measured"
MEANINGS = {
    "wins": "better in both orders",
    "losses": "worse in both orders",
    "ties": "equally good in both orders, or equal texts",
    "flips": "the verdict changed when the replies changed places",
    "split": "no majority of the judges",
    "unreadable": "the judge gave no readable verdict",
    "failed": "the judge could not be asked",
}


def comparison(found: Evidence) -> Section:
    title = "Win rate"
    lengths = length_table(found)
    plots = length_plot(found)
    result = found.winrate
    if result is None:
        said = (
            "Not measured: judged/winrate.json is not there. Measure it with: distill eval winrate."
        )
        return Section("win-rate", title, tables=lengths, figures=plots, absent=said)
    shown = [outcomes(result)] if pairs(result) else []
    return Section(
        "win-rate",
        title,
        headlines=[Headline(headline_value(result), headline_label(result))],
        beside=judge_said(result),
        tables=[outcome_table(result), lean_table(result), *panel_table(result), *lengths],
        figures=[*shown, *plots],
    )


def counts_of(result: dict[str, Any]) -> dict[str, int]:
    """Endings that can be: a single judge is never split."""
    known = {name: result[name] for name in MEANINGS if result.get(name) is not None}
    return known if known.get("split") else {n: v for n, v in known.items() if n != "split"}


def pairs(result: dict[str, Any]) -> int:
    return sum(counts_of(result).values())


def decided(result: dict[str, Any]) -> int:
    counts = counts_of(result)
    return counts.get("wins", 0) + counts.get("losses", 0)


def win_rate(result: dict[str, Any]) -> float | None:
    """The rate as it was measured; None when nothing was decided."""
    rate: float | None = result.get("win_rate") if decided(result) else None
    return rate


def interval_text(result: dict[str, Any]) -> str | None:
    interval = result.get("interval") if decided(result) else None
    if not interval:
        return None
    low, high = (percent(edge) for edge in interval)
    return f"{low} to {high}"


def headline_value(result: dict[str, Any]) -> str:
    rate = win_rate(result)
    return "no rate" if rate is None else percent(rate)


def headline_label(result: dict[str, Any]) -> str:
    first, second = result.get("first", "student"), result.get("second", "base")
    if win_rate(result) is None:
        return f"{NOTHING} between {first} and {second}, so there is no win rate"
    interval = interval_text(result)
    said = f"95 % interval {interval}" if interval else f"interval {NOT_MEASURED}"
    return f"of {count(decided(result), 'decided pair')} won by {first} against {second}; {said}"


def judge_said(result: dict[str, Any]) -> list[str]:
    """Who decided, and how far to trust it, as the judge's own record says."""
    versions = result.get("judge_versions") or {}
    if isinstance(versions, dict):
        shown = ", ".join(f"{short(name)} ({count(n, 'verdict')})" for name, n in versions.items())
    else:
        shown = short(str(versions))
    return [
        f"Judge: {result.get('judge', 'not stated')}. Version: {shown or 'not stated'}.",
        sentence(agreement(result)),
        "Pairs are judged in both orders, and count as won or lost only when both verdicts agree.",
    ]


def agreement(result: dict[str, Any]) -> str:
    """What is known of the judge's agreement with people, as a clause of its own."""
    note = str(result.get("agreement_note") or UNKNOWN_AGREEMENT).strip().rstrip(".")
    return f"it {note}" if note.startswith("agrees ") else note


def short(version: str) -> str:
    """A digest by its first digits; a name as it is."""
    digits = len(version) == 64 and all(c in "0123456789abcdef" for c in version)
    return version[:12] if digits else version


def sentence(clause: str) -> str:
    return f"{clause[:1].upper()}{clause[1:]}."


def outcome_table(result: dict[str, Any]) -> Table:
    total = pairs(result)
    rows = [
        (name, f"{n:,}", percent(n / total) if total else NOT_MEASURED, MEANINGS[name])
        for name, n in counts_of(result).items()
    ]
    rows.append(("all pairs", f"{total:,}", "", f"{decided(result):,} of them decided"))
    return Table("Counts", ("outcome", "pairs", "share", "meaning"), rows)


def lean_table(result: dict[str, Any]) -> Table:
    """What else is known of the rate: length, position, doubt, and what could have been seen."""
    control = result.get("length_controlled")
    rows = [
        ("at equal length", *rate_of(control and control["rate"], ends_of(control))),
        (
            "ties and flips as halves",
            *rate_of(result.get("share"), result.get("share_interval")),
        ),
        ("sign test", chance(result.get("sign_test")), "if both were equal, so uneven or more"),
        (
            "smallest rate to be seen",
            percent(result.get("detectable_win_rate")),
            "by so many decided pairs, four times in five",
        ),
        (
            "the longer reply won",
            leaning(result.get("longer_won")),
            "of decided pairs of different lengths; 50 % is no lean",
        ),
        (
            "the reply shown first won",
            leaning(result.get("first_position_won")),
            "of decided verdicts; 50 % is no lean",
        ),
        ("interval", result.get("interval_method") or "none", "over dialogues, 95 %"),
        ("rubric", str(result.get("rubric", "not stated")), short(rubric_digest(result))),
    ]
    return Table("What to weigh the rate with", ("figure", "value", "note"), rows)


def ends_of(control: dict[str, float] | None) -> list[float] | None:
    return [control["low"], control["high"]] if control else None


def rate_of(rate: float | None, interval: list[float] | None) -> tuple[str, str]:
    """A rate and its interval as the cells of a row."""
    if rate is None or not interval:
        return NOT_MEASURED, ""
    low, high = map(percent, interval)
    return percent(rate), f"95 % interval {low} to {high}"


def panel_table(result: dict[str, Any]) -> list[Table]:
    """Each judge of a panel alone, and how far any two agree."""
    panel = result.get("panel")
    if not panel:
        return []
    rows = []
    for name, held in panel["judges"].items():
        rate, interval = rate_of(held.get("win_rate"), held.get("interval"))
        rows.append((name, rate, interval, f"{held['decided']:,}", f"{held['flips']:,}"))
    agreed = panel["agreement"]
    kappas = {**agreed["cohen_kappa"], "all of them (Fleiss)": agreed["fleiss_kappa"]}
    return [
        Table("Each judge alone", ("judge", "wins", "interval", "decided", "flips"), rows),
        Table(
            f"Agreement of the judges on {count(agreed['pairs'], 'pair')}",
            ("judges", "kappa"),
            [(name, "none" if k is None else f"{k:.2f}") for name, k in kappas.items()],
        ),
    ]


def leaning(share: float | None) -> str:
    return "no such pair" if share is None else percent(share)


def rubric_digest(result: dict[str, Any]) -> str:
    return str(result.get("rubric_digest") or "digest not stated")


def outcomes(result: dict[str, Any]) -> Figure:
    interval = result.get("interval") if decided(result) else None
    return outcome_plot(counts_of(result), interval, win_rate(result))
