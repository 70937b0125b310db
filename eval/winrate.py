"""How often one candidate beats another, judged pair by pair.

In: two answer files and the dialogues that both answer. Out: `judgements.jsonl`, appended to as
verdicts come, and `winrate.json`. By the protocol `both-orders` a pair is won only if the verdict
survives the swap; ties, flips, unreadable verdicts and failed calls are counted apart. `win_rate`
is of decided pairs alone; `share` counts ties and flips as half a win, so that a judge who always
names the first reply gives 50 %. `xie2025` judges as arXiv 2507.08151 did, for comparison: one
order, no ties, and what cannot be read stays in the rate's denominator. Several judges are a
panel: the majority counts.
"""

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from distill.core.command import Outcome, command, offered
from distill.core.errors import BadInput
from distill.core.journal import Journal
from distill.core.jsonl import sha256_of, write_json
from distill.core.progress import say
from distill.core.records import Judgement
from eval.asking import counted, submitted
from eval.held_out import AnswerFile, joined, read_answers, read_dialogues, sample
from eval.judges import Judge, open_judges
from eval.judges.options import JudgeOptions, asks_judges
from eval.judging import Judged, Order, Pair, judge_pairs
from eval.length_control import LengthControl, length_controlled
from eval.outputs import writable_folder
from eval.panel import agreement, panel_outcomes
from eval.replies import mean_words, words
from eval.statistics import (
    Tally,
    detectable,
    finding,
    share_interval,
    sign_test,
    tally,
    wilson,
    win_rate_interval,
)

PROTOCOLS: dict[str, Order] = {"both-orders": "both", "xie2025": "first"}


def pairs_of(dialogues: list[Any], a: AnswerFile, b: AnswerFile) -> list[Pair]:
    return [(d, a.answers[d.id], b.answers[d.id]) for d in dialogues]


def first_position_share(judgements: list[Judgement]) -> float | None:
    """How often a decided verdict named the reply that was shown first; 0.5 is no lean."""
    sides = Counter(judgement.verdict.side for judgement in judgements)
    decided = sides["first"] + sides["second"]
    return sides["first"] / decided if decided else None


def longer_share(pairs: list[Pair], judged: Judged) -> float | None:
    """How often the longer reply won, among decided pairs of different lengths."""
    found = []
    for dialogue, a, b in pairs:
        gap = len(words(a.text)) - len(words(b.text))
        if gap and (ending := judged.outcomes[dialogue.id]) in ("win", "loss"):
            found.append((gap > 0) == (ending == "win"))
    return sum(found) / len(found) if found else None


def at_equal_length(pairs: list[Pair], judged: Judged, seed: int) -> LengthControl | None:
    """The win rate that is left when neither reply is longer."""
    gaps, won = [], []
    for dialogue, a, b in pairs:
        if (ending := judged.outcomes[dialogue.id]) in ("win", "loss"):
            gaps.append(len(words(a.text)) - len(words(b.text)))
            won.append(ending == "win")
    return length_controlled(np.array(won, float), np.array(gaps, float), seed)


def described(candidate: AnswerFile) -> dict[str, Any]:
    return {
        "answers": str(candidate.path),
        "answers_sha256": sha256_of(candidate.path),
        "artifact_sha256": candidate.artifact_sha256,
    }


def rates(counts: Tally, seed: int, order: Order) -> dict[str, Any]:
    """The rate of a protocol, its interval, and what may be said of it."""
    interval = win_rate_interval(counts)
    halves = share_interval(counts, seed)
    said = {
        "sign_test": sign_test(counts),
        "finding": finding(counts, interval),
        "share": counts.share,
        "share_interval": [halves.low, halves.high] if halves else None,
    }
    rate = counts.win_rate
    if order == "first":
        # The paper divides by all pairs, so what is not decided counts against the first.
        asked = counts.pairs - counts.failed
        rate = counts.wins / asked if asked else None
        interval = wilson(counts.wins, asked) if asked else None
        said = {}
    return {
        "win_rate": rate,
        "interval": [interval.low, interval.high] if interval else None,
        "interval_method": interval.method if interval else None,
        **said,
    }


def counts_of(counts: Tally) -> dict[str, Any]:
    both = counts.decided + counts.ties + counts.flips
    return {
        **asdict(counts),
        "decided": counts.decided,
        "pairs": counts.pairs,
        "flip_rate": counts.flips / both if both else None,
        "detectable_win_rate": detectable(counts.decided),
    }


def result_of(
    pairs: list[Pair],
    a: AnswerFile,
    b: AnswerFile,
    judge: Judge,
    judged: Judged,
    seed: int,
    protocol: str = "both-orders",
) -> dict[str, Any]:
    """Everything that is known of the comparison, as `winrate.json` holds it."""
    counts = tally(judged.outcomes[dialogue.id] for dialogue, _, _ in pairs)
    controlled = at_equal_length(pairs, judged, seed)
    mine, theirs = [x.text for _, x, _ in pairs], [y.text for _, _, y in pairs]
    return {
        **rates(counts, seed, PROTOCOLS[protocol]),
        **counts_of(counts),
        "identical": judged.identical,
        "length_controlled": asdict(controlled) if controlled else None,
        "first": a.candidate,
        "second": b.candidate,
        "protocol": protocol,
        "judge": judge.name,
        "judge_versions": dict(Counter(j.judge_version for j in judged.judgements)),
        "agreement_note": judge.agreement_note,
        "rubric": judge.rubric,
        "rubric_digest": judge.rubric_digest,
        "mean_words": {a.candidate: mean_words(mine), b.candidate: mean_words(theirs)},
        "longer_won": longer_share(pairs, judged),
        "first_position_won": first_position_share(judged.judgements),
        "candidates": {a.candidate: described(a), b.candidate: described(b)},
        "seed": seed,
    }


def result_of_panel(
    pairs: list[Pair],
    a: AnswerFile,
    b: AnswerFile,
    panel: list[tuple[Judge, Judged]],
    seed: int,
    protocol: str,
) -> tuple[dict[str, Any], Judged]:
    """The result of the only judge, or of the majority with what each judge found beside it."""
    if len(panel) == 1:
        return result_of(pairs, a, b, *panel[0], seed, protocol), panel[0][1]
    by_judge = {judge.name: judged.outcomes for judge, judged in panel}
    every = [one for _, judged in panel for one in judged.judgements]
    whole = Judged(panel_outcomes(by_judge), every, panel[0][1].identical)
    result = result_of(pairs, a, b, panel[0][0], whole, seed, protocol)
    names = " and ".join(by_judge)
    notes = "; ".join(f"{judge.name}: {judge.agreement_note}" for judge, _ in panel)
    judges = {
        judge.name: rates(counts, seed, PROTOCOLS[protocol]) | counts_of(counts)
        for judge, counts in ((one, tally(judged.outcomes.values())) for one, judged in panel)
    }
    told = {"judge": f"the majority of {names}", "agreement_note": notes}
    agreed = {"panel": {"judges": judges, "agreement": agreement(by_judge)}}
    return result | told | agreed, whole


def percent(share: float | None) -> str:
    return "nothing was decided" if share is None else f"{share:.1%}"


def between(low: float, high: float) -> str:
    return f"{low:.1%} to {high:.1%}"


def table(result: dict[str, Any]) -> Table:
    shown = Table(title=f"{result['first']} against {result['second']}", show_header=False)
    rate, control = percent(result["win_rate"]), result["length_controlled"]
    if result["interval"]:
        of = "decided pairs" if result["protocol"] == "both-orders" else "all pairs, in one order"
        rate += f" of {of} ({between(*result['interval'])}, {result['interval_method']})"
    lengths = ", ".join(f"{name} {mean:.1f}" for name, mean in result["mean_words"].items())
    rows = {
        f"{result['first']} wins": rate,
        "so it is": result.get("finding"),
        "ties and flips as halves": result.get("share_interval")
        and f"{result['share']:.1%} ({between(*result['share_interval'])})",
        "at equal length": control
        and f"{control['rate']:.1%} ({between(control['low'], control['high'])})",
        "decided": f"{result['decided']} of {result['pairs']}: won {result['wins']}, lost "
        f"{result['losses']}; they would show a win rate of {percent(noticed(result))} or more",
        "not decided": f"ties {result['ties']} (equal texts {result['identical']}), "
        f"flips {result['flips']}, unreadable {result['unreadable']}, failed {result['failed']}"
        + (f", no majority {result['split']}" if "panel" in result else ""),
        "judge": f"{result['judge']}: {result['agreement_note']}",
        "judges agree": "panel" in result and kappas(result["panel"]["agreement"]),
        "mean words": lengths,
        "the longer one won": percent(result["longer_won"]),
        "the one shown first won": percent(result["first_position_won"]),
    }
    for name, value in rows.items():
        if value:
            shown.add_row(name, value)
    return shown


def noticed(result: dict[str, Any]) -> float | None:
    share: float | None = result["detectable_win_rate"]
    return share


def kappas(found: dict[str, Any]) -> str:
    """Agreement beyond chance on the pairs that all could read."""
    each = {**found["cohen_kappa"], "all (Fleiss)": found["fleiss_kappa"]}
    told = [f"{name} {'none' if k is None else f'{k:.2f}'}" for name, k in each.items()]
    return f"kappa {', '.join(told)} over {found['pairs']} pairs"


def remark(result: dict[str, Any], failures: list[str]) -> None:
    """What a reader of the rate must know, on standard error."""
    if len(result["judge_versions"]) > 1 and "panel" not in result:
        versions = ", ".join(result["judge_versions"])
        say(f"note: verdicts of several judge versions are in this rate: {versions}")
    if failures:
        say(
            f"error: {len(failures)} calls failed and {result['failed']} pairs are not "
            f"judged (first: {failures[0]}); run the same command again to ask for those"
        )


def by_protocol(asked: JudgeOptions, protocol: str) -> JudgeOptions:
    """The paper's protocol has its own rubric; BadInput for a protocol that is not known."""
    if protocol not in PROTOCOLS:
        raise BadInput(f"there is no protocol {protocol!r}; choose one of: {', '.join(PROTOCOLS)}")
    return replace(asked, rubric=protocol) if protocol == "xie2025" else asked


@command
@asks_judges
def run(
    answers_a: Annotated[Path, typer.Argument(help="Answers of the candidate that may win.")],
    answers_b: Annotated[Path, typer.Argument(help="Answers of the one it is compared with.")],
    dialogues: Annotated[Path, typer.Option(help="The dialogues that both answer.")],
    out: Annotated[Path, typer.Option(help="Folder of judgements.jsonl and winrate.json.")],
    asked: JudgeOptions,
    protocol: Annotated[
        str,
        typer.Option(
            help="both-orders, or xie2025: one order and no ties, as the paper.",
            autocompletion=offered(PROTOCOLS),
        ),
    ] = "both-orders",
    limit: Annotated[int | None, typer.Option(min=1, help="Judge so many dialogues.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the interval.")] = 0,
) -> Outcome:
    """Compare two candidates pair by pair, in both orders; resumes where a killed run stopped.

    Keys and endpoints come from OPENAI_API_KEY, OPENAI_BASE_URL and GEMINI_API_KEY.
    """
    asked = by_protocol(asked, protocol)
    a, b = read_answers(answers_a), read_answers(answers_b)
    every = read_dialogues(dialogues)
    answered = joined(a, b, every, dialogues)
    if len(answered) < len(every):
        say(f"note: neither file answers {len(every) - len(answered)} of the dialogues")
    pairs, order = pairs_of(sample(answered, limit, seed), a, b), PROTOCOLS[protocol]
    judges = open_judges(asked, out, ties=protocol == "both-orders")
    with Journal(out / "judgements.jsonl", Judgement) as journal:
        if asked.dry_run:
            return counted([pairs], judges, journal, order)
        writable_folder(out)
        if asked.batch and (left := submitted([pairs], judges, journal, order)):
            return left
        panel = [(judge, judge_pairs(pairs, judge, journal, order)) for judge in judges]
    result, _ = result_of_panel(pairs, a, b, panel, seed, protocol)
    write_json(out / "winrate.json", result)
    failures = [failure for _, judged in panel for failure in judged.failures]
    remark(result, failures)
    calls = sum(judged.asked for _, judged in panel)
    data = {**result, "out": str(out / "winrate.json"), "calls": calls}
    return Outcome(data, [table(result)], exit_code=1 if failures else 0)
