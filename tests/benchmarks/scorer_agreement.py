"""How often the offline scorer, or the embedded one, agrees with people who rated replies.

`python -m tests.benchmarks.scorer_agreement PATH [--judge embedded] [--by X] [--out FILE]`: PATH is
a file of rated replies (columns `response_X` and `rating_X` for each responder X, as in "Distilling
Empathy from LLMs"). With `--by X` only pairs with a reply by X count: the file with MITI codes has
the same dialogues as the other one, and two of its three replies with the same ratings, so that
`--by chatgpt` is what it adds; that needs --out.
Two replies to one dialogue make a pair when one person rated them differently. Nothing here
trains or tunes the scorer. Writes numbers only, to `eval/scoring/agreement.json` or
`eval/scoring/caring_agreement.json`.
"""

import argparse
import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from distill.core.jsonl import sha256_of, write_json
from eval.judges.offline import Scorer
from eval.scoring import caring, offline

RESAMPLES = 2000
LIKE_LENGTH = 0.2
GRADES = {"plain": 1, "direct": 2, "improved": 3}
LOADED: dict[str, tuple[Callable[[Path | None], Scorer], str]] = {
    "offline": (offline.load_scorer, offline.AGREEMENT),
    "embedded": (caring.load_caring, caring.AGREEMENT),
}
Score = Callable[[list[dict[str, str]], str], float]


@dataclass(frozen=True)
class Rated:
    """One reply, by whom, and what a person thought of it (1 bad, 2 okay, 3 good)."""

    turns: list[dict[str, str]]
    text: str
    by: str
    rating: int


def read_rated(path: Path) -> list[list[Rated]]:
    """The replies to each dialogue."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name.removeprefix("rating_") for name in rows[0] if name.startswith("rating_")]
    found = []
    for row in rows:
        turns = [{"role": "user", "content": row["speaker_uttr"]}]
        rated = [
            Rated(turns, row[f"response_{name}"], name, int(float(row[f"rating_{name}"])))
            for name in names
            if row.get(f"response_{name}") and row[f"rating_{name}"]
        ]
        found.append(rated)
    return found


@dataclass(frozen=True)
class Pairs:
    """The decided pairs of all dialogues: the better reply first."""

    dialogue: NDArray[np.int64]
    better: list[Rated]
    worse: list[Rated]

    def groups(self) -> dict[str, NDArray[np.bool_]]:
        human = np.array(
            [
                (b.by == "human") + (w.by == "human")
                for b, w in zip(self.better, self.worse, strict=True)
            ]
        )
        gap = np.array([b.rating - w.rating for b, w in zip(self.better, self.worse, strict=True)])
        return {
            "all": np.ones(len(human), bool),
            "human against LLM": human == 1,
            "LLM against LLM": human == 0,
            "good against bad": gap == 2,
            "like length": np.array(
                [alike(b.text, w.text) for b, w in zip(self.better, self.worse, strict=True)]
            ),
        }


def alike(first: str, second: str) -> bool:
    a, b = len(first.split()), len(second.split())
    return abs(a - b) <= LIKE_LENGTH * max(a, b)


def decided(dialogues: Sequence[Sequence[Rated]], by: str | None = None) -> Pairs:
    """The decided pairs, or those of them in which `by` replied."""
    where, better, worse = [], [], []
    for number, replies in enumerate(dialogues):
        for a, b in combinations(replies, 2):
            if a.rating != b.rating and by in (None, a.by, b.by):
                where.append(number)
                better.append(a if a.rating > b.rating else b)
                worse.append(b if a.rating > b.rating else a)
    return Pairs(np.array(where), better, worse)


def agreement(
    right: NDArray[np.float64], dialogue: NDArray[np.int64], rng: np.random.Generator
) -> dict[str, Any]:
    """Mean, with a 95 % interval from resampling dialogues; an equal score is half right."""
    _, where = np.unique(dialogue, return_inverse=True)
    sums, counts = np.bincount(where, right), np.bincount(where)
    drawn = rng.integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return {
        "agreement": round(float(right.mean()), 4),
        "interval": [round(float(low), 4), round(float(high), 4)],
        "pairs": len(right),
    }


def measure(pairs: Pairs, score: Score) -> tuple[dict[str, Any], NDArray[np.float64]]:
    margin = np.array(
        [
            score(b.turns, b.text) - score(w.turns, w.text)
            for b, w in zip(pairs.better, pairs.worse, strict=True)
        ]
    )
    right = (margin > 0) + 0.5 * (margin == 0)
    rng = np.random.default_rng(0)
    groups = pairs.groups().items()
    return {
        name: agreement(right[mask], pairs.dialogue[mask], rng) for name, mask in groups
    }, margin


def with_margin(margin: NDArray[np.float64], tie: float) -> dict[str, Any]:
    """The same verdicts, with small differences called ties and left out."""
    sure = np.abs(margin) > tie
    return {
        "ties": round(float(1 - sure.mean()), 4),
        "agreement": round(float((margin[sure] > 0).mean()), 4),
        "pairs": int(sure.sum()),
    }


def ngram_ridge() -> Score:
    """The plain baseline: word n-grams of the starter's graded replies against their grade."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    text = resources.files("distill").joinpath("starter", "dialogues.jsonl").read_text("utf-8")
    replies = [json.loads(line)["responses"] for line in text.splitlines()]
    rows = [(reply[grade], rating) for reply in replies for grade, rating in GRADES.items()]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    model = Ridge().fit(vectors.fit_transform([r for r, _ in rows]), [g for _, g in rows])
    known: dict[str, float] = {}

    def score(turns: list[dict[str, str]], reply: str) -> float:
        if reply not in known:
            known[reply] = float(model.predict(vectors.transform([reply]))[0])
        return known[reply]

    return score


def llm_preferred(pairs: Pairs) -> dict[str, Any]:
    """How often people preferred the LLM's reply to the person's: what knowing that much gives."""
    mask = pairs.groups()["human against LLM"]
    llm = np.array([reply.by != "human" for reply in pairs.better], float)[mask]
    return agreement(llm, pairs.dialogue[mask], np.random.default_rng(0))


def lengths(pairs: Pairs, scorer: Scorer) -> float:
    """Correlation of the scorer's score with the number of words."""
    replies = {id(r): r for r in (*pairs.better, *pairs.worse)}.values()
    scores = [scorer.score(r.turns, r.text) for r in replies]
    return round(float(np.corrcoef(scores, [len(r.text.split()) for r in replies])[0, 1]), 4)


def table_of(methods: dict[str, dict[str, Any]]) -> Table:
    first = next(iter(methods.values()))
    table = Table("agreement with people", *(f"{n} ({v['pairs']:,})" for n, v in first.items()))
    for name, groups in methods.items():
        cells = [
            f"{v['agreement']:.1%} [{v['interval'][0]:.1%}, {v['interval'][1]:.1%}]"
            for v in groups.values()
        ]
        table.add_row(name, *cells)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--scorer", type=Path, help="a folder that fit wrote; default: shipped")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--judge", choices=list(LOADED), default="offline")
    parser.add_argument("--by", help="only pairs in which this responder replied")
    words = parser.parse_args()
    if words.by and not words.out:
        parser.error("--by measures a part of the pairs, and the shipped figure is of all: --out")
    load, file = LOADED[words.judge]
    scorer, pairs = load(words.scorer), decided(read_rated(words.path), words.by)
    if isinstance(scorer, caring.CaringScorer):
        rated = (*pairs.better, *pairs.worse)
        scorer.remember([*(r.text for r in rated), *(r.turns[-1]["content"] for r in rated)])
    mine, margin = measure(pairs, scorer.score)
    methods = {
        "scorer": mine,
        "length": measure(pairs, lambda turns, reply: len(reply.split()))[0],
        "n-gram ridge": measure(pairs, ngram_ridge())[0],
    }
    found = {
        "scorer_sha256": scorer.digest,
        "rated_sha256": sha256_of(words.path),
        "dialogues": len(np.unique(pairs.dialogue)),
        "methods": methods,
        "LLM preferred to human": llm_preferred(pairs),
        "with ties": with_margin(margin, scorer.tie_margin),
        "correlation with length": lengths(pairs, scorer),
    }
    Console().print(table_of(methods))
    for name in ("LLM preferred to human", "with ties", "correlation with length"):
        Console().print(f"{name}: {found[name]}")
    shipped = Path(str(resources.files("eval").joinpath("scoring")))
    out = words.out or (words.scorer or shipped) / file
    write_json(out, found)
    Console().print(f"wrote {out}", load(words.scorer).agreement_note, sep="\n")


if __name__ == "__main__":
    main()
