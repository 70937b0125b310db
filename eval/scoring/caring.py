"""The embedded scorer: does the reply mean what caring replies mean, is it cared for, is it of use.

In: turns and a reply. Out: a score of three named parts. `caring`: a linear reading of the reply's
sentence embedding, alone and beside the turn's, learned from our starter dialogues (direct and
improved replies against plain ones, never these against each other: that is our way of writing).
`careless`: marks of haste. `unusual`: octaves between its length and 28 words, the mean that arXiv
2507.08151 asks of its teachers. The weights of the last two are chosen, not learned. Refused: an
embedder that is not installed (MissingExtra).
"""

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.core.jsonl import existing, read_json
from eval.embedding import embed
from eval.scoring.offline import EMPTY_SCORE, agreement_note
from eval.scoring.words import plain, words_of

Floats = NDArray[np.float64]
Vectors = Callable[[Sequence[str]], NDArray[np.float32]]
WEIGHTS, AGREEMENT = "caring.json", "caring_agreement.json"
USUAL_WORDS = 28
CARELESS_WEIGHT, UNUSUAL_WEIGHT = 1.5, 1.0
TIE_MARGIN = 0.2
# A product of two unit vectors is small in every place: this brings it to the size of the reply's.
BESIDE = 20.0
CHATTY = re.compile(r"\b(?:dont|cant|im|ive|thats|wont|didnt|youre|lol|haha)\b")
SMALL_I, SMALL_AFTER_END = re.compile(r"(?:^|\s)i(?:\s|'|$)"), re.compile(r"[.!?]\s+[a-z]")
STRAY = re.compile(r"\s[,.!?]| {2}")
MOST_OF_A_KIND = 2


def careless(reply: str) -> float:
    """From 0 to 1: small letters, missing ends, stray spaces, words of haste."""
    many = (
        SMALL_AFTER_END.findall(reply),
        STRAY.findall(reply),
        CHATTY.findall(plain(reply).lower()),
    )
    marks = bool(SMALL_I.search(reply)) + reply[:1].islower()
    marks += reply.rstrip()[-1:] not in tuple('.!?"')
    marks += sum(min(len(found), MOST_OF_A_KIND) for found in many)
    return 1 - math.exp(-marks)


def unusual(reply: str) -> float:
    """Octaves between the length of a reply and that of a usual one."""
    return abs(math.log2(max(1, len(reply.split())) / USUAL_WORDS))


def beside(reply: Floats, turn: Floats) -> Floats:
    """[2 width + 1] what is read of a reply: itself, its product with the turn, their nearness."""
    return np.concatenate([reply, BESIDE * reply * turn, [reply @ turn]])


def tidy(text: str) -> str:
    return " ".join(text.split())


@dataclass
class CaringScorer:
    """`weights` [2 width + 1] give caring in units of its spread over our own replies."""

    weights: Floats
    agreement_note: str
    digest: str
    vectors: Vectors = embed
    tie_margin: float = TIE_MARGIN
    known: dict[str, Floats] = field(default_factory=dict)

    def remember(self, texts: Iterable[str]) -> None:
        """Embed many texts at once, which is faster than one by one."""
        fresh = [one for one in dict.fromkeys(map(tidy, texts)) if one and one not in self.known]
        if fresh:
            rows = self.vectors(fresh).astype(float)
            self.known |= dict(zip(fresh, rows, strict=True))

    def parts(self, turns: Sequence[Mapping[str, str]], reply: str) -> dict[str, float]:
        """What each part adds to the score."""
        said = [turn["content"] for turn in turns if turn["role"] == "user"][-1]
        self.remember([said, reply])
        read = beside(self.known[tidy(reply)], self.known[tidy(said)])
        return {
            "caring": float(self.weights @ read),
            "careless": -CARELESS_WEIGHT * careless(reply),
            "unusual": -UNUSUAL_WEIGHT * unusual(reply),
        }

    def score(self, turns: list[dict[str, str]], reply: str) -> float:
        """How good a reply is; a reply without a word scores `EMPTY_SCORE`."""
        return sum(self.parts(turns, reply).values()) if words_of(reply) else EMPTY_SCORE


def load_caring(folder: Path | None = None, vectors: Vectors = embed) -> CaringScorer:
    """The scorer that is shipped, or one that `distill eval scoring learn-caring` wrote."""
    folder = folder or Path(str(resources.files("eval").joinpath("scoring")))
    path = existing(folder / WEIGHTS)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    note = agreement_note(folder / AGREEMENT, digest)
    return CaringScorer(np.array(read_json(path)["weights"], float), note, digest, vectors)
