"""The win rate, with all that is needed to weigh it, and the length of the replies.

In: evidence. Out: a section. No rate is shown when nothing was decided; the judge, its version
and what was measured of its agreement with people stand beside the number.
"""

from collections import Counter
from typing import Any

from distill.core.records import Answer
from eval.held_out import AnswerFile
from eval.pages.evidence import Evidence
from eval.pages.page import Figure, Headline, Section, Table
from eval.pages.plots import Series, distribution, outcome_plot
from eval.pages.wording import NOT_MEASURED, count, number, percent
from eval.replies import figures, words
from eval.statistics import quantile

NOTHING = "nothing was decided"
UNKNOWN_AGREEMENT = "its agreement with people was not measured"
MEANINGS = {
    "wins": "better in both orders",
    "losses": "worse in both orders",
    "ties": "equally good in both orders, or equal texts",
    "flips": "the verdict changed when the replies changed places",
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
        tables=[outcome_table(result), lean_table(result), *lengths],
        figures=[*shown, *plots],
    )


def counts_of(result: dict[str, Any]) -> dict[str, int]:
    return {name: result[name] for name in MEANINGS if result.get(name) is not None}


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
    """What a judge may lean on that is no empathy: length and position."""
    method = result.get("interval_method")
    rows = [
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
        ("interval", method or "none", "over dialogues, 95 %"),
        ("rubric", str(result.get("rubric", "not stated")), short(rubric_digest(result))),
    ]
    return Table("What to weigh the rate with", ("figure", "value", "note"), rows)


def leaning(share: float | None) -> str:
    return "no such pair" if share is None else percent(share)


def rubric_digest(result: dict[str, Any]) -> str:
    return str(result.get("rubric_digest") or "digest not stated")


def outcomes(result: dict[str, Any]) -> Figure:
    interval = result.get("interval") if decided(result) else None
    return outcome_plot(counts_of(result), interval, win_rate(result))


def candidates(found: Evidence) -> list[AnswerFile]:
    return [side for side in (found.student, found.base) if side]


def length_table(found: Evidence) -> list[Table]:
    """Length and ending of the replies, one column a candidate."""
    sides = candidates(found)
    if not sides:
        return []
    columns = [length_figures(list(side.answers.values())) for side in sides]
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    return [Table("The replies", ("figure", *(side.candidate for side in sides)), rows)]


def length_figures(answers: list[Answer]) -> dict[str, str]:
    known = figures(answers)
    lengths = [len(words(answer.text)) for answer in answers]
    endings = Counter(answer.finish_reason for answer in answers)
    return {
        "replies": f"{len(answers):,}",
        "mean words": number(known["mean_words"]),
        "median words": number(quantile(lengths, 0.5), 0),
        "5 % to 95 % of replies": (
            f"{quantile(lengths, 0.05):.0f} to {quantile(lengths, 0.95):.0f} words"
        ),
        "ended by themselves": percent(endings["stop"] / len(answers)),
        "empty": f"{known['empty']:,}",
        "with a repeated run of 4 words": f"{known['loops']:,}",
    }


def length_plot(found: Evidence) -> list[Figure]:
    sides = candidates(found)
    if not sides:
        return []
    series = [
        Series(side.candidate, [len(words(text)) for text in side.texts()], filled=side is sides[0])
        for side in sides
    ]
    return [distribution("lengths", "Length of the replies", "words", series)]
