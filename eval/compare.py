"""Which of several candidates is better: every one against every other, by the same judges.

In: two or more answer files and the dialogues that all answer. Out: `judgements.jsonl`, appended to
as verdicts come, and `comparison.json`: for each couple better, worse or not distinguishable with
the reason in one line, and for all of them strengths on one scale. In `compared/` of a run's folder
the report finds it. Refused: fewer than two files, files that answer different
dialogues (BadInput).
"""

from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.journal import Journal
from distill.core.jsonl import write_json
from distill.core.records import Dialogue, Judgement
from eval.asking import counted, submitted
from eval.held_out import AnswerFile, joined, read_answers, read_dialogues, sample
from eval.judges import Judge, open_judges
from eval.judges.options import JudgeOptions, asks_judges
from eval.judging import Judged, judge_pairs
from eval.outputs import writable_folder
from eval.reason import reason
from eval.statistics import Outcome as Ending
from eval.strengths import Strength, strengths
from eval.winrate import between, pairs_of, percent, remark, result_of_panel

Couple = tuple[AnswerFile, AnswerFile]


def answered_by_all(files: list[AnswerFile], every: list[Dialogue], source: Path) -> list[Dialogue]:
    """The dialogues of all files; BadInput when any two differ or share a name."""
    if len(files) < 2:
        raise BadInput("one candidate cannot be compared; name the answers of two or more")
    found = [joined(a, b, every, source) for a, b in combinations(files, 2)]
    return found[0]


def wins_of(
    names: list[str], dialogues: list[Dialogue], results: dict[tuple[str, str], dict[str, Ending]]
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """[dialogues, candidates, candidates] of 1 where the row won against the column."""
    place = {name: number for number, name in enumerate(names)}
    wins = np.zeros((len(dialogues), len(names), len(names)))
    for (first, second), outcomes in results.items():
        for number, dialogue in enumerate(dialogues):
            a, b = place[first], place[second]
            wins[number, a, b] = outcomes[dialogue.id] == "win"
            wins[number, b, a] = outcomes[dialogue.id] == "loss"
    return wins


def table_of_couples(couples: list[dict[str, Any]]) -> Table:
    shown = Table("candidate", "is", "than", "wins", "95 %", "at equal length", "flips")
    for one in couples:
        control = one["length_controlled"]
        shown.add_row(
            one["first"],
            one["finding"],
            one["second"],
            percent(one["win_rate"]),
            between(*one["interval"]) if one["interval"] else "",
            percent(control["rate"]) if control else "",
            percent(one["flip_rate"]),
        )
    return shown


def table_of_strengths(found: list[Strength]) -> Table:
    shown = Table("candidate", "strength", "95 %", "wins against the others")
    for one in found:
        interval = f"{one.low:+.2f} to {one.high:+.2f}"
        shown.add_row(one.candidate, f"{one.log_odds:+.2f}", interval, f"{one.chance:.1%}")
    return shown


@command
@asks_judges
def run(
    answers: Annotated[list[Path], typer.Argument(help="Answers of two or more candidates.")],
    dialogues: Annotated[Path, typer.Option(help="The dialogues that all of them answer.")],
    out: Annotated[Path, typer.Option(help="Folder of judgements.jsonl and comparison.json.")],
    asked: JudgeOptions,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge so many dialogues.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the intervals.")] = 0,
) -> Outcome:
    """Say of each two candidates which is better, and rank them all; asks nothing twice."""
    files = [read_answers(path) for path in answers]
    every = answered_by_all(files, read_dialogues(dialogues), dialogues)
    chosen = sample(every, limit, seed)
    couples = list(combinations(files, 2))
    pairs = [pairs_of(chosen, a, b) for a, b in couples]
    judges = open_judges(asked, out)
    with Journal(out / "judgements.jsonl", Judgement) as journal:
        if asked.dry_run:
            return counted(pairs, judges, journal)
        writable_folder(out)
        if asked.batch and (left := submitted(pairs, judges, journal)):
            return left
        panels = [[(judge, judge_pairs(p, judge, journal)) for judge in judges] for p in pairs]
    return told(couples, chosen, panels, seed, out)


def told(
    couples: list[Couple],
    dialogues: list[Dialogue],
    panels: list[list[tuple[Judge, Judged]]],
    seed: int,
    out: Path,
) -> Outcome:
    found, outcomes, failures = [], {}, []
    for (a, b), panel in zip(couples, panels, strict=True):
        result, whole = result_of_panel(pairs_of(dialogues, a, b), a, b, panel, seed, "both-orders")
        mine = [failure for _, judged in panel for failure in judged.failures]
        remark(result, mine)
        result["reason"] = reason(result)
        failures += mine
        found.append(result)
        outcomes[a.candidate, b.candidate] = whole.outcomes
    names = list(dict.fromkeys(one.candidate for couple in couples for one in couple))
    ranked = strengths(names, wins_of(names, dialogues, outcomes), seed)
    ranked.sort(key=lambda one: -one.log_odds)
    data: dict[str, Any] = {"couples": found, "strengths": [asdict(one) for one in ranked]}
    write_json(out / "comparison.json", data)
    shown: list[Any] = [one["reason"] for one in found]
    if len(names) > 2:
        shown += [table_of_couples(found), table_of_strengths(ranked)]
    calls = sum(judged.asked for panel in panels for _, judged in panel)
    data = {**data, "out": str(out / "comparison.json"), "calls": calls}
    return Outcome(data, shown, exit_code=1 if failures else 0)
