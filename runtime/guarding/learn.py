"""Learn the classifier from labelled messages.

In: labelled messages. Out: `Classifier`. Refused: a labelled file with unknown fields, labels or
kinds (BadInput, with its line). Needs scikit-learn; what is learned does not.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression

from distill.core.errors import BadInput, MissingInput
from runtime.guarding.classifier import CLASSES, Classifier, values
from runtime.guarding.features import look
from runtime.guarding.policy import Policy
from runtime.guarding.words import words_of

CLASS_OF = {"direct": "self", "indirect": "self", "third-party": "other", "danger": "danger"}
STRENGTH = 1.0
RARE = 2
LEAST_WEIGHT = 0.03
MOST_EVERYDAY = 12_000  # turns of one file, drawn by seed
EVERYDAY_SHARE = 1.0  # what all everyday turns weigh, against all labelled messages


@dataclass(frozen=True)
class Labelled:
    """One message, whether it suggests a crisis, and of what kind it is."""

    text: str
    crisis: bool
    kind: str
    everyday: bool = False

    @property
    def target(self) -> str:
        return CLASS_OF[self.kind] if self.crisis else "not"


def read_labelled(path: Path) -> list[Labelled]:
    """JSON lines with `text`, `label` (crisis or not), `kind`, and perhaps `id`."""
    if not path.is_file():
        raise MissingInput(f"{path} is no file; give JSON lines with text, label and kind")
    found = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            text, label, kind = row["text"], row["label"], row["kind"]
        except (ValueError, TypeError, KeyError) as error:
            raise BadInput(f"{path}:{number}: {error!r}; want text, label and kind") from error
        if label not in ("crisis", "not") or (label == "crisis" and kind not in CLASS_OF):
            raise BadInput(f"{path}:{number}: there is no label {label!r} of kind {kind!r}")
        found.append(Labelled(text, label == "crisis", kind))
    return found


def read_everyday(path: Path) -> list[Labelled]:
    """What is said in the dialogues of a file, and each response to them: taken for no crisis.

    What `distill gather` wrote will do; of splits only `train` is read.
    """
    if not path.is_file():
        raise MissingInput(f"{path} is no file; give the dialogues.jsonl of distill gather")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    kept = [row for row in rows if row.get("split", "train") == "train"]
    turns = [turn["content"] for row in kept for turn in row["turns"]]
    replies = [reply for row in kept for reply in row.get("responses", {}).values()]
    said = list(dict.fromkeys([*turns, *replies]))
    random.Random(0).shuffle(said)
    return [Labelled(text, False, "everyday", everyday=True) for text in said[:MOST_EVERYDAY]]


def learn(messages: Sequence[Labelled], policy: Policy) -> Classifier:
    """Logistic regression in which crisis and not weigh the same."""
    rows = [values(look(words_of(message.text), policy)) for message in messages]
    counts = Counter(name for row in rows for name in row)
    names = sorted(name for name, count in counts.items() if count >= RARE)
    index = {name: place for place, name in enumerate(names)}
    where = [
        (row, index[name], value)
        for row, found in enumerate(rows)
        for name, value in sorted(found.items())
        if name in index
    ]
    at, columns, numbers = (np.array(part) for part in zip(*where, strict=True))
    table = csr_matrix((numbers, (at, columns)), (len(rows), len(names)))
    targets = [CLASSES.index(message.target) for message in messages]
    model = LogisticRegression(C=STRENGTH, max_iter=2000, tol=1e-6)
    model.fit(table, targets, balanced(messages))
    weights = {
        name: tuple(round(float(x), 3) for x in model.coef_[:, place])
        for name, place in index.items()
    }
    kept = {name: row for name, row in weights.items() if max(map(abs, row)) >= LEAST_WEIGHT}
    return Classifier(tuple(round(float(x), 3) for x in model.intercept_), kept)


def balanced(messages: Sequence[Labelled]) -> list[float]:
    """Weights by which crisis and not weigh the same, and everyday turns have their share."""
    labelled = sum(not m.everyday for m in messages)
    share = EVERYDAY_SHARE * labelled / max(1, len(messages) - labelled)
    own = [share if message.everyday else 1.0 for message in messages]
    crisis = sum(w for w, message in zip(own, messages, strict=True) if message.crisis)
    totals = {True: crisis, False: sum(own) - crisis}
    half = sum(own) / 2
    return [
        weight * half / totals[message.crisis]
        for weight, message in zip(own, messages, strict=True)
    ]
