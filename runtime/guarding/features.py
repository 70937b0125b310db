"""What is seen in a message: signals, contexts, and words.

In: words of one passage and a policy. Out: `Seen`: names of signals and contexts, and the features
that the classifier weighs. Nothing is refused.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from runtime.guarding.patterns import Found
from runtime.guarding.policy import CONTEXT, HARMLESS, SIGNAL, Policy
from runtime.guarding.words import STOP

LONGEST_PASSAGE = 60
COVERED = "~"
ENDINGS = ("ingly", "edly", "ing", "ed", "es", "ly", "s")
SHORTEST_STEM = 3
# What says of whom and when a signal speaks; each joins with every signal as a feature.
MANNERS = ("i", "kin", "recovered", "relapse", "fiction", "game", "laughing", "mourning", "now")


@dataclass(frozen=True)
class Seen:
    """The names found in one passage, and its features."""

    signals: frozenset[str]
    contexts: frozenset[str]
    features: frozenset[str]
    grams: frozenset[str]


def look(words: Sequence[str], policy: Policy) -> Seen:
    """Everything that is found in a passage."""
    found = policy.patterns.find(words)
    covered = {
        place for hit in found if hit.name == HARMLESS for place in range(hit.start, hit.end)
    }
    signals = frozenset(
        hit.name.removeprefix(SIGNAL)
        for hit in found
        if hit.name.startswith(SIGNAL) and not overlaps(hit, covered)
    )
    contexts = frozenset(
        hit.name.removeprefix(CONTEXT) for hit in found if hit.name.startswith(CONTEXT)
    )
    names = {f"s:{name}" for name in signals} | {f"c:{name}" for name in contexts}
    pairs = {f"{s}&{c}" for s in signals for c in contexts if c in MANNERS}
    other = {"covered"} if covered else set()
    many = {f"signals>{n}" for n in range(1, 4) if len(signals) > n}
    seen = [COVERED if place in covered else word for place, word in enumerate(words)]
    return Seen(signals, contexts, frozenset(names | pairs | other | many), grams(seen))


def overlaps(hit: Found, covered: set[int]) -> bool:
    return any(place in covered for place in range(hit.start, hit.end))


def grams(words: Sequence[str]) -> frozenset[str]:
    """The words, stems and pairs of neighbours of a passage."""
    shown = [STOP, *("#" if word.isdigit() else word for word in words), STOP]
    stems = [stem(word) for word in shown]
    pairs = {f"{first} {second}" for chain in (shown, stems) for first, second in pairwise(chain)}
    return frozenset(pairs.union(shown, stems)) - {STOP, f"{STOP} {STOP}", COVERED}


def stem(word: str) -> str:
    """A word without the commonest endings, marked so that it is no word."""
    for ending in ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            return f"{word.removesuffix(ending)}-"
    return word


def passages(words: Sequence[str]) -> Iterator[Sequence[str]]:
    """A short message whole; a long one as sentences in groups, so that none drowns another."""
    if len(words) <= LONGEST_PASSAGE:
        yield words
        return
    start = 0
    while start < len(words):
        end = min(start + LONGEST_PASSAGE, len(words))
        stops = [place for place in range(start + 1, end) if words[place] == STOP]
        if end < len(words) and stops:
            end = stops[-1] + 1
        yield words[start:end]
        if end == len(words):
            return
        # The next passage begins with the last sentence of this one.
        back = [place + 1 for place in stops if place + 1 < end]
        start = back[-1] if back else max(end - LONGEST_PASSAGE // 4, start + 1)
