"""Learn the offline scorer from graded dialogues: pairwise, length told nothing, signs fixed.

In: a folder written by `distill gather starter curriculum`. Out: `offline.npz` (what is known of
words) and `offline.json` (one weight for each feature, what was learned from, how well it orders
the test split). Refused: a folder without graded replies (BadInput).
"""

import hashlib
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.table import Table
from scipy.optimize import minimize, minimize_scalar

from distill.core.command import Outcome, command
from distill.core.jsonl import replacing, sha256_of, write_json
from distill.core.progress import say, track
from eval.scoring.corruptions import Graded
from eval.scoring.features import NAMES, SIGNS, features, hear
from eval.scoring.learn import learn_tables
from eval.scoring.offline import TABLES, WEIGHTS, load_scorer
from eval.scoring.pairs import NEUTRAL, Pair, pairs_of, read_graded
from eval.scoring.tables import Floats, Tables, from_arrays, to_arrays

FOLDS = 4
RIDGE = 1e-3
PROBES = 3
HEAVIEST = 15.0
# How much a neutral pair weighs: enough to halve what a longer reply gains by its length alone.
NEUTRAL_SHARE = 5.0
# Word lists read the mood of our understated turns badly, so data alone would let a condolence
# pass for a congratulation; up to this weight it costs nothing on our own pairs.
LEAST = {"mood": 0.6}
# Differences below these log-odds are ties: by the scorer itself less sure than 55 to 45.
TIE_MARGIN = round(float(np.log(0.55 / 0.45)), 4)
FILES = ("dialogues.jsonl", "privileged.jsonl", "responses.jsonl")


def fold_of(dialogue: Graded) -> int:
    """Generated dialogues fold by emotion, for their events recur; written ones by themselves."""
    key = dialogue.emotion if dialogue.source == "curriculum" else dialogue.id
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % FOLDS


def differences(pairs: Sequence[Pair], tables: Tables) -> Floats:
    """[pairs, features] of the better reply minus the worse."""
    heard = {pair.dialogue.id: pair.dialogue.turns for pair in pairs}
    known = {name: hear(turns, tables) for name, turns in heard.items()}
    rows = [
        features(known[pair.dialogue.id], pair.better, tables)
        - features(known[pair.dialogue.id], pair.worse, tables)
        for pair in pairs
    ]
    return np.array(rows, np.float32)


def unseen_differences(
    dialogues: Sequence[Graded], rng: random.Random
) -> tuple[Floats, NDArray[np.bool_]]:
    """Rows to learn weights from, and which are neutral; no table has seen its dialogue before."""
    sources = sorted({dialogue.source for dialogue in dialogues})
    fewest = min(sum(d.source == source for d in dialogues) for source in sources)
    rows: list[Floats] = []
    neutral: list[bool] = []
    for fold in track(range(FOLDS), "learn weights", FOLDS):
        tables = learn_tables([d for d in dialogues if fold_of(d) != fold])
        for source in sources:
            inside = [d for d in dialogues if d.source == source and fold_of(d) == fold]
            chosen = rng.sample(inside, min(len(inside), fewest // FOLDS))
            pairs = [p for p in pairs_of(chosen, inside, rng) if not p.kind.startswith("whole")]
            rows.append(differences(pairs, tables))
            neutral.extend(pair.kind == NEUTRAL for pair in pairs)
    return np.vstack(rows), np.array(neutral)


def learn_weights(rows: Floats, neutral: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Ridge logistic regression without intercept, each weight held to its sign.

    A neutral row counts in both directions; the last step brings the differences back to the
    log-odds of the others.
    """
    decided = rows[~neutral].astype(float)
    scale = np.sqrt((decided**2).mean(0)) + 1e-6
    scaled = np.vstack([decided, rows[neutral], -rows[neutral]]) / scale
    share = np.ones(len(scaled))
    share[len(decided) :] = NEUTRAL_SHARE / 2
    share /= share.sum()

    def loss(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        margin = scaled @ weights
        slope = -(scaled.T @ (share / (1 + np.exp(margin))))
        value = float(share @ np.logaddexp(0, -margin) + RIDGE * weights @ weights / 2)
        return value, slope + RIDGE * weights

    bounds = [
        (LEAST.get(name, 0.0) * unit, HEAVIEST * unit) if SIGNS[name] > 0 else (-HEAVIEST * unit, 0)
        for name, unit in zip(NAMES, scale, strict=True)
    ]
    start = [max(low, 0.0) for low, _ in bounds]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x / scale
    margin = decided @ found
    odds = minimize_scalar(
        lambda factor: np.logaddexp(0, -factor * margin).mean(), (0.5, 2.0), method="brent"
    )
    weights: NDArray[np.float64] = found * odds.x
    return weights


def order_found(
    dialogues: Sequence[Graded], weights: NDArray[np.float64], tables: Tables, seed: int
) -> dict[str, dict[str, float]]:
    """Share of pairs of each kind that the weights put in the right order, by source."""
    found: dict[str, dict[str, float]] = {}
    for source in sorted({dialogue.source for dialogue in dialogues}):
        mine = [dialogue for dialogue in dialogues if dialogue.source == source]
        pairs = list(pairs_of(mine, mine, random.Random(seed)))
        right = (differences(pairs, tables) @ weights) > 0
        kinds = np.array([pair.kind for pair in pairs])
        found[source] = {
            kind: round(float(right[kinds == kind].mean()), 4) for kind in dict.fromkeys(kinds)
        }
    return found


def probes(dialogues: Sequence[Graded]) -> list[tuple[list[dict[str, str]], str]]:
    """A few replies whose scores are kept with the weights: code that drifts from them shows."""
    return [
        ([dict(turn) for turn in dialogue.turns], reply)
        for dialogue in dialogues[:PROBES]
        for reply in dialogue.replies.values()
    ]


def save(folder: Path, tables: Tables, known: dict[str, Any]) -> None:
    content = io.BytesIO()
    np.savez_compressed(content, **to_arrays(tables))
    with replacing(folder / TABLES) as temporary:
        temporary.write_bytes(content.getvalue())
    write_json(folder / WEIGHTS, known)


@command
def run(
    data: Annotated[Path, typer.Argument(help="A folder that distill gather wrote.")],
    out: Annotated[Path, typer.Option(help="Where offline.json and offline.npz go.")] = Path(
        "eval/scoring"
    ),
    seed: Annotated[int, typer.Option(help="Chooses pairs and corruptions.")] = 0,
) -> Outcome:
    """Learn the offline scorer; measure its agreement with people afterwards."""
    dialogues = read_graded(data)
    train = [dialogue for dialogue in dialogues if dialogue.split == "train"]
    rows, neutral = unseen_differences(train, random.Random(seed))
    weights = np.round(learn_weights(rows, neutral), 4)
    tables = from_arrays(to_arrays(learn_tables(train)))
    test = [dialogue for dialogue in dialogues if dialogue.split == "test"]
    order = order_found(test, weights, tables, seed)
    known = {
        "weights": dict(zip(NAMES, weights.tolist(), strict=True)),
        "tie_margin": TIE_MARGIN,
        "seed": seed,
        "pairs": len(rows),
        "dialogues": len(train),
        "data_sha256": {name: sha256_of(data / name) for name in FILES},
        "test_order": order,
    }
    save(out, tables, known)
    scorer = load_scorer(out)
    known["probes"] = [
        {"turns": turns, "reply": reply, "score": round(scorer.score(turns, reply), 4)}
        for turns, reply in probes(test)
    ]
    write_json(out / WEIGHTS, known)
    scorer = load_scorer(out)
    say(f"wrote {out / WEIGHTS} and {out / TABLES} ({scorer.digest[:8]}...)")
    table = Table("pairs of the test split in the right order", *order)
    for kind in next(iter(order.values())):
        table.add_row(kind, *(f"{order[source].get(kind, float('nan')):.1%}" for source in order))
    return Outcome({**known, "sha256": scorer.digest}, [table])
