"""The offline scorer: no key, no network, no model; a few thousand words of our own.

In: a dialogue as messages and a reply. Out: a score whose differences are log-odds that one reply
is the better one, by our graded dialogues. Refused: weights that are not those of this version
(BadInput). How far its verdicts can be trusted is measured, and `agreement_note` says it.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import BadInput
from distill.core.jsonl import existing, read_json
from eval.scoring.features import NAMES, Heard, features, hear
from eval.scoring.tables import Floats, Tables, from_arrays
from eval.scoring.words import words_of

WEIGHTS, TABLES, AGREEMENT = "offline.json", "offline.npz", "agreement.json"
EMPTY_SCORE = -100.0
HEARD_TURNS = 256


@dataclass(frozen=True)
class Scorer:
    """Tables, one weight for each feature, and what is known of its verdicts.

    `tie_margin`: a smaller difference is a tie, for the odds are nearly even. `digest`: sha256 of
    the weights and tables.
    """

    tables: Tables
    weights: Floats
    tie_margin: float
    agreement_note: str
    digest: str

    def score(self, turns: list[dict[str, str]], reply: str) -> float:
        """How good a reply is; a reply without a word scores `EMPTY_SCORE`."""
        if not words_of(reply):
            return EMPTY_SCORE
        return float(self.weights @ features(self.heard(turns), reply, self.tables))

    def explain(self, turns: list[dict[str, str]], reply: str) -> dict[str, float]:
        """What each feature adds to the score."""
        parts = self.weights * features(self.heard(turns), reply, self.tables)
        return dict(zip(NAMES, parts.tolist(), strict=True))

    def heard(self, turns: Sequence[Mapping[str, str]]) -> Heard:
        return self.listen(tuple((turn["role"], turn["content"]) for turn in turns))

    @cached_property
    def listen(self) -> Callable[[tuple[tuple[str, str], ...]], Heard]:
        """`hear`, remembered: a dialogue is scored with several replies."""

        @lru_cache(maxsize=HEARD_TURNS)
        def listen(turns: tuple[tuple[str, str], ...]) -> Heard:
            return hear([{"role": role, "content": text} for role, text in turns], self.tables)

        return listen


def load_scorer(folder: Path | None = None) -> Scorer:
    """The scorer that is shipped, or one that `distill eval scoring learn` wrote to a folder."""
    folder = folder or Path(str(resources.files("eval").joinpath("scoring")))
    known = read_json(folder / WEIGHTS)
    if not isinstance(known, dict) or list(known.get("weights", ())) != list(NAMES):
        raise BadInput(
            f"{folder / WEIGHTS} holds other features than this version; "
            "fit it again with: distill eval scoring learn DATA"
        )
    digest = digest_of(folder)
    with np.load(BytesIO((folder / TABLES).read_bytes())) as arrays:
        tables = from_arrays(arrays)
    return Scorer(
        tables=tables,
        weights=np.array(list(known["weights"].values()), np.float32),
        tie_margin=known["tie_margin"],
        agreement_note=agreement_note(folder / AGREEMENT, digest),
        digest=digest,
    )


def digest_of(folder: Path) -> str:
    parts = (existing(folder / name).read_bytes() for name in (WEIGHTS, TABLES))
    return hashlib.sha256(b"".join(parts)).hexdigest()


def agreement_note(path: Path, digest: str) -> str:
    """One sentence: how often people agree, as measured with exactly these weights."""
    measured = read_json(path) if path.exists() else {}
    if measured.get("scorer_sha256") != digest:
        return "its agreement with people has not been measured for these weights"
    scorer, length = (measured["methods"][name] for name in ("scorer", "length"))
    everyone, mixed = "all", "human against LLM"
    return (
        f"agrees with human raters on {share(scorer[everyone])} of the "
        f"{scorer[everyone]['pairs']:,} pairs that they decided, and on {share(scorer[mixed])} of "
        f"the {scorer[mixed]['pairs']:,} of a person's reply against an LLM's (chance is 50 %, the "
        f"longer reply {percent(length[everyone])} and {percent(length[mixed])})"
    )


def percent(figure: Mapping[str, Any]) -> str:
    return f"{figure['agreement'] * 100:.0f} %"


def share(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{percent(figure)} [{low * 100:.0f}, {high * 100:.0f}]"
