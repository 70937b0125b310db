"""A small classifier, stored as numbers: which kind of crisis, if any, a passage suggests.

In: `Seen`. Out: a probability for each class. Refused: a file that is not what `fit` writes
(BadInput). Plain Python: the sums are short.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from distill.core.errors import BadInput
from runtime.guarding.features import Seen

BUNDLED = "classifier.json"
CLASSES = ("not", "self", "other", "danger")
GRAMS_COUNT = 3.0  # what all the words of a passage weigh together, however many they are


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression over features that are there or not."""

    offset: tuple[float, ...]
    weights: Mapping[str, tuple[float, ...]]

    def probabilities(self, seen: Seen) -> dict[str, float]:
        totals = list(self.offset)
        for feature, value in values(seen).items():
            weights = self.weights.get(feature)
            if weights is not None:
                for place, weight in enumerate(weights):
                    totals[place] += weight * value
        top = max(totals)
        odds = [math.exp(total - top) for total in totals]
        return dict(zip(CLASSES, (odd / sum(odds) for odd in odds), strict=True))


def values(seen: Seen) -> dict[str, float]:
    """Each feature's value: signals count one, words share what they have."""
    share = GRAMS_COUNT / math.sqrt(max(1, len(seen.grams)))
    return {f"w:{gram}": share for gram in seen.grams} | dict.fromkeys(seen.features, 1.0)


def from_data(data: object) -> Classifier:
    """The classifier of a file's content."""
    if not isinstance(data, dict) or data.get("classes") != list(CLASSES):
        raise BadInput("the guard's classifier is damaged; install the package again")
    weights = {name: tuple(row) for name, row in data["weights"].items()}
    return Classifier(tuple(data["offset"]), weights)


@lru_cache(maxsize=1)
def bundled_classifier() -> Classifier:
    return from_data(json.loads((resources.files(__package__) / BUNDLED).read_text("utf-8")))
