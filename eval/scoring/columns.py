"""What is known of a reply, as named columns: one family of features a function here.

In: rows and a `Source`. Out: `Columns`, [rows, columns]. `miti` are the codes that people gave,
`miti-learned` those that our own classifier reads from text and embedding; it is fitted with the
scorer and not here. Refused: an unknown family, codes that the rows lack (BadInput).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput
from eval.embedding import embed
from eval.scoring.caring import CHATTY, SMALL_AFTER_END, SMALL_I, STRAY
from eval.scoring.features import NAMES, features, hear
from eval.scoring.offline import load_scorer
from eval.scoring.rated import Row
from eval.scoring.subfactors import SUBFACTORS, Subfactors
from eval.scoring.words import content_stems, plain, sentences_of, words_of

Floats = NDArray[np.float64]
LEARNED = "miti-learned"
# Motivational Interviewing Treatment Integrity, as coded in arXiv 2406.05063.
MITI = (
    "Closed Question",
    "Open Question",
    "Simple Reflection",
    "Complex Reflection",
    "Give Information",
    "Advise with Permission",
    "Affirm",
    "Emphasize Autonomy",
    "Support",
    "Advise without Permission",
    "Confront",
    "Direct",
    "Warn",
    "Self-Disclose",
    "Other",
)
PHRASES: Mapping[str, re.Pattern[str]] = {
    name: re.compile(rf"\b(?:{words})\b")
    for name, words in {
        "you": r"you|your|yours|yourself|you're|you've",
        "i": r"i|me|my|mine|i'm|i've|i'd",
        "sorry": r"sorry|apolog\w+",
        "advice": r"should|try|could you|consider|make sure|don't forget|important to|it's okay",
        "remember": r"remember",
        "understand": r"understand\w*|imagine|i hear|sounds|i can see",
        "feel": r"feel\w*|felt|emotion\w*",
        "glad": r"great|wonderful|amazing|awesome|congrat\w*|fantastic|happy for|glad",
        "offer": r"here for you|here to|talk about|support\w*",
        "wish": r"hope|wish|good luck",
        "not": r"not|no|never|\w+n't",
        "perhaps": r"may|might|perhaps|maybe|must have",
    }.items()
} | {"chatty": CHATTY}


@dataclass(frozen=True)
class Columns:
    """Names and values [rows, names]."""

    names: tuple[str, ...]
    values: Floats


@dataclass(frozen=True)
class Source:
    """Where features come from that are not counted here."""

    embedder: str = "local"
    subfactors: Subfactors | None = None


def text(rows: Sequence[Row], source: Source) -> Columns:
    """Counts, phrases, care of writing, and the named features of the offline scorer."""
    tables = load_scorer().tables
    known = {turns: hear([t.message() for t in turns], tables) for turns in {r.turns for r in rows}}
    found: list[dict[str, float]] = []
    for row in rows:
        values = features(known[row.turns], row.text, tables).tolist()
        named = dict(zip(NAMES, values, strict=True))
        found.append(counted(row.said, row.text) | named)
    names = tuple(found[0])
    return Columns(names, np.array([[one[name] for name in names] for one in found]))


def counted(said: str, reply: str) -> dict[str, float]:
    """What can be counted in a reply and in what it answers."""
    words, lower = words_of(reply), plain(reply).lower()
    count, sentences = max(len(words), 1), max(len(sentences_of(reply)), 1)
    stems, theirs = set(content_stems(words)), set(content_stems(words_of(said)))
    common, letters = len(stems & theirs), sum(map(len, words))
    values = {
        "log words": np.log1p(len(words)),
        "words": len(words) / 50,
        "sentences": sentences,
        "words a sentence": count / sentences,
        "letters a word": letters / count,
        "questions": reply.count("?"),
        "ends with a question": reply.rstrip().endswith("?"),
        "exclamations": reply.count("!"),
        "commas": reply.count(","),
        "different words": len(set(words)) / count,
        "taken up": common,
        "share taken up": common / max(len(stems), 1),
        "share of theirs": common / max(len(theirs), 1),
        "log words said": np.log1p(len(words_of(said))),
        "small i": bool(SMALL_I.search(reply)),
        "small start": reply[:1].islower(),
        "no end": reply.rstrip()[-1:] not in tuple('.!?"'),
        "small after end": len(SMALL_AFTER_END.findall(reply)),
        "stray spaces": len(STRAY.findall(reply)),
    }
    for name, pattern in PHRASES.items():
        hits = len(pattern.findall(lower))
        values |= {f"says {name}": min(hits, 3), f"share {name}": hits / count}
    return {name: float(value) for name, value in values.items()}


def embeddings(rows: Sequence[Row], source: Source) -> Columns:
    """The reply, what it does beside the turn (their product), and how near it is to it."""
    vectors = embed([row.text for row in rows] + [row.said for row in rows], source.embedder)
    replies, turns = np.split(vectors.astype(float), 2)
    near = (replies * turns).sum(1, keepdims=True)
    width = replies.shape[1]
    names = [f"reply {i}" for i in range(width)] + [f"both {i}" for i in range(width)] + ["near"]
    return Columns(tuple(names), np.hstack([replies, replies * turns * width**0.5, near]))


def miti(rows: Sequence[Row], source: Source) -> Columns:
    """One column for each code; BadInput when a row was never coded."""
    if bare := [row.id for row in rows if row.miti is None]:
        raise BadInput(
            f"{len(bare)} replies have no MITI codes, first {bare[0]!r}; gather the file with "
            f"codes alone, or let them be read: --features {LEARNED}"
        )
    coded = [[code in (row.miti or ()) for code in MITI] for row in rows]
    return Columns(MITI, np.array(coded, float))


def subfactors(rows: Sequence[Row], source: Source) -> Columns:
    """15 scores from 1 to 10 by a chat model (arXiv 2412.20264)."""
    if source.subfactors is None:
        raise BadInput("sub-factors are scored by a chat model; name it with --scorer")
    return Columns(SUBFACTORS, source.subfactors.scores(rows))


FAMILIES: Mapping[str, Callable[[Sequence[Row], Source], Columns]] = {
    "text": text,
    "embeddings": embeddings,
    "miti": miti,
    "subfactors": subfactors,
}


def columns_of(rows: Sequence[Row], families: Sequence[str], source: Source) -> Columns:
    """The columns of several families side by side; `miti-learned` reads text and embeddings."""
    found = []
    for family in families:
        if family not in FAMILIES:
            known = ", ".join([*FAMILIES, LEARNED])
            raise BadInput(f"there are no features {family!r}; choose of: {known}")
        one = FAMILIES[family](rows, source)
        found.append(Columns(tuple(f"{family}: {name}" for name in one.names), one.values))
    names = tuple(name for one in found for name in one.names)
    return Columns(names, np.hstack([one.values for one in found]))
