"""How far a judge agrees with people: its verdicts on pairs of replies that people rated.

In: a folder with rated replies, as `distill gather rated-responses=PATH` writes it. Out:
`calibration.json`: for each judge the share of decided pairs on which it sides with the raters, and
Cohen's kappa over win, loss and neither; `distill eval winrate --calibration` prints it beside
every rate. A pair is decided when its two ratings differ. Refused: no pair that people decided
(BadInput).
"""

import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command
from distill.core.errors import BadInput
from distill.core.journal import Journal
from distill.core.jsonl import digest_text, sha256_of, write_json
from distill.core.records import Answer, Dialogue, Judgement
from eval.asking import counted, submitted
from eval.judges import Judge, open_judges
from eval.judges.options import JudgeOptions, asks_judges
from eval.judging import Judged, Pair, judge_pairs
from eval.outputs import writable_folder
from eval.panel import category, cohen
from eval.scoring.rated import Row, read_rated
from eval.statistics import tally, wilson
from eval.winrate import between, percent

CALIBRATION = "calibration.json"


def answer_of(row: Row) -> Answer:
    return Answer(
        dialogue_id=row.dialogue_id,
        candidate=row.author,
        text=row.text,
        artifact_sha256=digest_text(row.author),
        first_token_s=0,
        tokens_per_s=0,
        tokens=0,
        finish_reason="stop",
    )


def decided_pairs(rows: Sequence[Row], limit: int | None, seed: int) -> list[tuple[Pair, str]]:
    """One decided pair of each dialogue, in an order that says nothing, and who won by ratings."""
    grouped: dict[str, list[Row]] = {}
    for row in rows:
        grouped.setdefault(row.dialogue_id, []).append(row)
    chance = random.Random(seed)
    found = []
    for name, replies in sorted(grouped.items()):
        pairs = [pair for pair in combinations(replies, 2) if pair[0].rating != pair[1].rating]
        if not pairs:
            continue
        a, b = chance.sample(chance.choice(pairs), 2)
        dialogue = Dialogue(id=name, source="rated", turns=list(a.turns), split="test")
        truth = "win" if a.rating > b.rating else "loss"
        found.append(((dialogue, answer_of(a), answer_of(b)), truth))
    if not found:
        raise BadInput("no two replies to one dialogue are rated differently; gather other ratings")
    return found if limit is None else chance.sample(found, min(limit, len(found)))


def told(judge: Judge, judged: Judged, truth: dict[str, str]) -> dict[str, Any]:
    """What is known of one judge, with the sentence that stands beside its rates."""
    counts = tally(judged.outcomes.values())
    read = {n: e for n, e in judged.outcomes.items() if e not in ("unreadable", "failed")}
    sided = [truth[name] == ending for name, ending in read.items() if ending in ("win", "loss")]
    share = sum(sided) / len(sided) if sided else None
    interval = wilson(sum(sided), len(sided)) if sided else None
    kappa = cohen([truth[name] for name in read], [category(ending) for ending in read.values()])
    note = "decided none of the pairs that people decided"
    if share is not None and interval is not None:
        note = (
            f"agrees with human raters on {share:.0%} [{interval.low:.0%}, {interval.high:.0%}] of "
            f"the {len(sided):,} pairs that both decided, of {counts.pairs:,} (kappa "
            f"{'none' if kappa is None else f'{kappa:.2f}'})"
        )
    return {
        "judge": judge.name,
        "rubric": judge.rubric,
        "rubric_digest": judge.rubric_digest,
        "agreement": share,
        "interval": [interval.low, interval.high] if interval else None,
        "kappa": kappa,
        "decided_by_both": len(sided),
        "pairs": counts.pairs,
        "flips": counts.flips,
        "ties": counts.ties,
        "unreadable": counts.unreadable,
        "failed": counts.failed,
        "agreement_note": note,
    }


def table_of(found: dict[str, dict[str, Any]]) -> Table:
    shown = Table("judge", "sides with people", "95 %", "kappa", "decided", "flips", "unreadable")
    for name, one in found.items():
        shown.add_row(
            name,
            percent(one["agreement"]),
            between(*one["interval"]) if one["interval"] else "",
            "none" if one["kappa"] is None else f"{one['kappa']:.2f}",
            f"{one['decided_by_both']} of {one['pairs']}",
            str(one["flips"]),
            str(one["unreadable"]),
        )
    return shown


@command
@asks_judges
def run(
    rated: Annotated[Path, typer.Argument(help="A folder with rated replies, as gather writes.")],
    out: Annotated[Path, typer.Option(help="Folder of judgements.jsonl and calibration.json.")],
    asked: JudgeOptions,
    limit: Annotated[int | None, typer.Option(min=1, help="So many pairs.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses one pair a dialogue.")] = 0,
) -> Outcome:
    """Measure judges against the ratings of people; asks nothing twice."""
    drawn = decided_pairs(read_rated(rated), limit, seed)
    pairs = [pair for pair, _ in drawn]
    truth = {pair[0].id: winner for pair, winner in drawn}
    judges = open_judges(asked, out)
    with Journal(out / "judgements.jsonl", Judgement) as journal:
        if asked.dry_run:
            return counted([pairs], judges, journal)
        writable_folder(out)
        if asked.batch and (left := submitted([pairs], judges, journal)):
            return left
        judged = [judge_pairs(pairs, judge, journal) for judge in judges]
    found = {
        spec: told(judge, one, truth)
        for spec, judge, one in zip(asked.specs(), judges, judged, strict=True)
    }
    data = {"judges": found, "rated_sha256": sha256_of(rated / "responses.jsonl"), "seed": seed}
    write_json(out / CALIBRATION, data)
    failed = any(one.failures for one in judged)
    return Outcome({**data, "out": str(out / CALIBRATION)}, [table_of(found)], int(failed))
