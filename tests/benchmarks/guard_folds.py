"""How often the guard fires when it should and when it should not, on messages new to it.

`python tests/benchmarks/guard_folds.py PATH [--folds 5] [--threshold T] [--ordinary DIALOGUES]
[--show] [--out FILE]`: PATH holds JSON lines with `text`, `label` (crisis or not) and `kind`. Each
fold is judged by a classifier that learned from the other folds, the package's written messages and
everyday turns; messages of the package that are in PATH are left out. The patterns are the same for
every fold: whoever wrote them had seen development.jsonl, so on that file the figures flatter, and
only a set that nobody has looked at tells how the guard does on new messages (`--folds 1`: learn
from all of the package, judge all of PATH). `--ordinary` counts how often the guard as it ships
fires on what people say in dialogues of ordinary life: what `distill gather` wrote, or
EmpatheticDialogues as JSON lines.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from runtime.guard import Guard
from runtime.guarding.fit import EVERYDAY, MESSAGES
from runtime.guarding.learn import Labelled, learn, read_everyday, read_labelled
from runtime.guarding.policy import read_policy


def judged(
    messages: Sequence[Labelled],
    everyday: Sequence[Labelled],
    folds: int,
    seed: int,
    threshold: float | None,
) -> Iterator[tuple[Labelled, bool, float, float]]:
    """Each message, whether the guard fired, its score, and the milliseconds that it took."""
    policy = read_policy()
    if threshold is not None:
        policy = policy.model_copy(update={"threshold": threshold})
    mine = {message.text for message in messages}
    bundled = [m for file in MESSAGES for m in read_labelled(file) if m.text not in mine]
    order = list(messages)
    random.Random(seed).shuffle(order)
    for fold in range(folds):
        inside = order[fold::folds]
        rest = [m for place, m in enumerate(order) if place % folds != fold]  # none of one fold
        classifier = learn([*bundled, *rest, *everyday], policy)
        guard = Guard(policy=policy, classifier=classifier)
        for message in inside:
            started = time.process_time()
            found = guard.check(message.text)
            yield message, found.fired, found.score, (time.process_time() - started) * 1000


def share(hits: int, count: int) -> dict[str, Any]:
    """A share with its Wilson 95 % interval; absence has none."""
    if not count:
        return {"hits": 0, "count": 0}
    rate, z = hits / count, 1.96
    middle = (rate + z * z / 2 / count) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(rate * (1 - rate) / count + (z / 2 / count) ** 2)
    return {
        "hits": hits,
        "count": count,
        "rate": round(rate, 4),
        "interval": [round(middle - half, 4), round(middle + half, 4)],
    }


def ordinary(path: Path, show: bool) -> dict[str, Any]:
    """How many turns of a person fire, by the classifier that ships."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    turns = [turn for row in rows for turn in row["turns"] if turn["role"] in ("user", "speaker")]
    said = [turn.get("content") or turn.get("text", "") for turn in turns]
    guard = Guard()
    fired = [text for text in said if guard.check(text).fired]
    if show:
        print(*fired, sep="\n")
    return share(len(fired), len(said)) | {"per_1000": round(1000 * len(fired) / len(said), 1)}


def figures(rows: Sequence[tuple[Labelled, bool, float, float]]) -> dict[str, Any]:
    kinds = dict.fromkeys((m.kind, m.crisis) for m, *_ in sorted(rows, key=lambda r: r[0].kind))
    costs = sorted(cost for *_, cost in rows)
    return {
        "recall": share(sum(f for m, f, *_ in rows if m.crisis), sum(m.crisis for m, *_ in rows)),
        "false_alarms": share(
            sum(f for m, f, *_ in rows if not m.crisis), sum(not m.crisis for m, *_ in rows)
        ),
        "fired_by_kind": {
            f"{kind} ({'crisis' if crisis else 'not'})": share(
                sum(f for m, f, *_ in rows if (m.kind, m.crisis) == (kind, crisis)),
                sum((m.kind, m.crisis) == (kind, crisis) for m, *_ in rows),
            )
            for kind, crisis in kinds
        },
        "ms_median": round(costs[len(costs) // 2], 3),
        "ms_most": round(costs[-1], 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float)
    parser.add_argument("--ordinary", type=Path, help="dialogues in which nobody is in danger")
    parser.add_argument("--everyday", type=Path, action="append", help="as for the fit")
    parser.add_argument("--show", action="store_true", help="print what was judged wrongly")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    messages = read_labelled(asked.path)
    everyday = [turn for path in asked.everyday or [EVERYDAY] for turn in read_everyday(path)]
    rows = list(judged(messages, everyday, asked.folds, asked.seed, asked.threshold))
    found = figures(rows)
    table = Table("", "fired", "of", "share", "95 % interval")
    for name, one in [
        ("recall", found["recall"]),
        ("false alarms", found["false_alarms"]),
        *found["fired_by_kind"].items(),
    ]:
        if one["count"]:
            low, high = one["interval"]
            cells = [f"{one['rate']:.1%}", f"{low:.1%} to {high:.1%}"]
            table.add_row(name, str(one["hits"]), str(one["count"]), *cells)
    console = Console(highlight=False)
    console.print(table)
    if asked.ordinary:
        found["ordinary"] = ordinary(asked.ordinary, asked.show)
        one = found["ordinary"]
        console.print(f"ordinary: {one['hits']} of {one['count']}, {one['per_1000']} in 1,000")
    console.print(f"{found['ms_median']} ms a message (median), {found['ms_most']} at most")
    if asked.show:
        for message, fired, score, _ in rows:
            if fired != message.crisis:
                console.print(f"{message.kind} {score:.2f} {message.text}", markup=False)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
