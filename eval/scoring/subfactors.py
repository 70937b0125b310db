"""Fifteen points of a reply, each scored from 1 to 10 by a chat model (arXiv 2412.20264).

In: rows, a chat, a ledger. Out: [rows, 15] scores. Five points each of understanding, feeling and
care, in our own words. Nothing is asked twice. Refused: an answer that is not exactly the fifteen
numbers (Unavailable, with how many; the ledger keeps the others).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distill.core.asking import Ask, Terms, ask_all
from distill.core.chat import Chat, Reply, Sampling
from distill.core.errors import Unavailable
from distill.core.jsonl import digest_text
from distill.core.ledger import Ledger
from distill.core.progress import track
from eval.judges.rubric import CODE_LENGTH, fenced, shipped
from eval.scoring.rated import Row

PROMPT = "subfactors"
SUBFACTORS = (
    "takes_up",
    "sees_as_they_do",
    "names_meaning",
    "reads_between",
    "asks_well",
    "right_feeling",
    "right_strength",
    "warmth",
    "gives_room",
    "is_moved",
    "stays_with",
    "wishes_well",
    "helps_fittingly",
    "holds_back",
    "strengthens",
)
LOWEST, HIGHEST = 1, 10


@dataclass(frozen=True)
class Subfactors:
    """Who scores, and where what it said is kept."""

    chat: Chat
    ledger: Path
    terms: Terms

    def scores(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        asks = [asked(row) for row in rows]
        found: dict[str, list[int]] = {}
        with Ledger(self.ledger) as ledger:
            came = ask_all(asks, self.chat, ledger, self.terms)
            for one in track(came, "sub-factors", len(asks)):
                if one.reply and (scores := read_scores(one.reply)):
                    found[one.ask.id] = scores
        if lacking := [row.id for row in rows if row.id not in found]:
            raise Unavailable(
                f"{len(lacking)} of {len(rows)} replies have no readable scores, first "
                f"{lacking[0]!r}; {self.ledger} keeps the others: run the same command again, or "
                "with another model"
            )
        return np.array([found[row.id] for row in rows], float)


def asked(row: Row) -> Ask:
    text = shipped(PROMPT)
    digest = digest_text(text)
    turns = row.messages()
    code = digest_text(json.dumps([digest, turns, row.text]))[:CODE_LENGTH]
    talk = "\n".join(fenced(turn["role"], code, turn["content"]) for turn in turns)
    shown = [fenced("conversation", code, talk), fenced("judged", code, row.text)]
    content = "\n\n".join([text, *shown])
    return Ask(row.id, [{"role": "user", "content": content}], Sampling(512), PROMPT, digest)


def read_scores(reply: Reply) -> list[int] | None:
    """The fifteen numbers in their order, or None: half an answer is none."""
    try:
        said = json.loads(reply.text)
    except ValueError:
        return None
    if reply.outcome != "answered" or not isinstance(said, dict) or set(said) != set(SUBFACTORS):
        return None
    scores = [said[name] for name in SUBFACTORS]
    whole = all(type(score) is int and LOWEST <= score <= HIGHEST for score in scores)
    return scores if whole else None
