"""How often one candidate beats another, judged pair by pair in both orders.

In: two answer files and the dialogues that both answer. Out: `judgements.jsonl`, appended to as
verdicts come, and `winrate.json`. A pair is won only if the verdict survives the swap; ties,
flips, unreadable verdicts and failed calls are counted apart and are in no rate.
"""

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from distill.core.command import Outcome, command
from distill.core.journal import Journal
from distill.core.jsonl import sha256_of, write_json
from distill.core.progress import say
from distill.core.records import Answer, Dialogue, Judgement
from eval.held_out import AnswerFile, joined, read_answers, read_dialogues, sample
from eval.judges import JUDGES, Judge, JudgeOptions, open_judge
from eval.judging import Judged, judge_pairs
from eval.outputs import writable_folder
from eval.replies import mean_words, words
from eval.statistics import RESAMPLES, Tally, tally, win_rate_interval

Pair = tuple[Dialogue, Answer, Answer]


def pairs_of(dialogues: list[Dialogue], a: AnswerFile, b: AnswerFile) -> list[Pair]:
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


def described(candidate: AnswerFile) -> dict[str, Any]:
    return {
        "answers": str(candidate.path),
        "answers_sha256": sha256_of(candidate.path),
        "artifact_sha256": candidate.artifact_sha256,
    }


def result_of(
    pairs: list[Pair], a: AnswerFile, b: AnswerFile, judge: Judge, judged: Judged, seed: int
) -> dict[str, Any]:
    """Everything that is known of the comparison, as `winrate.json` holds it."""
    counts = tally(judged.outcomes[dialogue.id] for dialogue, _, _ in pairs)
    interval = win_rate_interval(counts, seed)
    mine, theirs = [x.text for _, x, _ in pairs], [y.text for _, _, y in pairs]
    return {
        "win_rate": counts.win_rate,
        "interval": [interval.low, interval.high] if interval else None,
        "interval_method": interval.method if interval else None,
        "wins": counts.wins,
        "losses": counts.losses,
        "ties": counts.ties,
        "flips": counts.flips,
        "unreadable": counts.unreadable,
        "failed": counts.failed,
        "decided": counts.decided,
        "pairs": counts.pairs,
        "identical": judged.identical,
        "first": a.candidate,
        "second": b.candidate,
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
        "resamples": RESAMPLES,
    }


def percent(share: float | None) -> str:
    return "nothing was decided" if share is None else f"{share:.1%}"


def table(result: dict[str, Any], counts: Tally) -> Table:
    shown = Table(title=f"{result['first']} against {result['second']}", show_header=False)
    rate = percent(result["win_rate"])
    if result["interval"]:
        low, high = result["interval"]
        rate += f" of decided pairs ({low:.1%} to {high:.1%}, {result['interval_method']})"
    lengths = ", ".join(f"{name} {mean:.1f}" for name, mean in result["mean_words"].items())
    rows = {
        f"{result['first']} wins": rate,
        "decided": f"{counts.decided} of {counts.pairs}: won {counts.wins}, lost {counts.losses}",
        "not decided": f"ties {counts.ties} (equal texts {result['identical']}), "
        f"flips {counts.flips}, unreadable {counts.unreadable}, failed {counts.failed}",
        "judge": f"{result['judge']}: {result['agreement_note']}",
        "mean words": lengths,
        "the longer one won": percent(result["longer_won"]),
        "the one shown first won": percent(result["first_position_won"]),
    }
    for name, value in rows.items():
        shown.add_row(name, value)
    return shown


def remark(result: dict[str, Any], judged: Judged) -> None:
    """What a reader of the rate must know, on standard error."""
    if len(result["judge_versions"]) > 1:
        versions = ", ".join(result["judge_versions"])
        say(f"note: verdicts of several judge versions are in this rate: {versions}")
    if judged.failures:
        say(
            f"error: {len(judged.failures)} calls failed and {result['failed']} pairs are not "
            f"judged (first: {judged.failures[0]}); run the same command again to ask for those"
        )


@command
def run(
    answers_a: Annotated[Path, typer.Argument(help="Answers of the candidate that may win.")],
    answers_b: Annotated[Path, typer.Argument(help="Answers of the one it is compared with.")],
    dialogues: Annotated[Path, typer.Option(help="The dialogues that both answer.")],
    out: Annotated[Path, typer.Option(help="Folder of judgements.jsonl and winrate.json.")],
    judge: Annotated[str, typer.Option(help=f"Who decides: {', '.join(JUDGES)}.")] = "offline",
    model: Annotated[str | None, typer.Option(help="Model of the judge openai.")] = None,
    base_url: Annotated[
        str | None, typer.Option(help="Endpoint of the judge openai; or OPENAI_BASE_URL.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Judge so many dialogues.")] = None,
    seed: Annotated[int, typer.Option(help="Of the sample and the interval.")] = 0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer of the judge.")] = 1024,
    temperature: Annotated[float, typer.Option(min=0, help="Of the judge; 0 is greedy.")] = 0.0,
    no_temperature: Annotated[
        bool, typer.Option("--no-temperature", help="Send none: reasoning models refuse it.")
    ] = False,
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at the same time.")] = 4,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds that a call may take.")] = 120.0,
    retries: Annotated[int, typer.Option(min=0, help="Attempts after a call that failed.")] = 4,
) -> Outcome:
    """Compare two candidates pair by pair, in both orders; resumes where a killed run stopped.

    The judge openai reads OPENAI_API_KEY and OPENAI_BASE_URL.
    """
    options = JudgeOptions(
        model, base_url, max_tokens, None if no_temperature else temperature, timeout, retries
    )
    a, b = read_answers(answers_a), read_answers(answers_b)
    every = read_dialogues(dialogues)
    answered = joined(a, b, every, dialogues)
    if len(answered) < len(every):
        say(f"note: neither file answers {len(every) - len(answered)} of the dialogues")
    pairs = pairs_of(sample(answered, limit, seed), a, b)
    decider = open_judge(judge, options)
    writable_folder(out)
    with Journal(out / "judgements.jsonl", Judgement) as journal:
        judged = judge_pairs(pairs, decider, journal, concurrency)
    result = result_of(pairs, a, b, decider, judged, seed)
    write_json(out / "winrate.json", result)
    remark(result, judged)
    counts = tally(judged.outcomes.values())
    data = {**result, "out": str(out / "winrate.json"), "calls": judged.asked}
    return Outcome(data, [table(result, counts)], exit_code=1 if judged.failures else 0)
