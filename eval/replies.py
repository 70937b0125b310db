"""What can be said of replies by counting: length, ending, repetition, variety."""

import re
from collections import Counter
from collections.abc import Sequence

from distill.core.records import Answer

WORD = re.compile(r"\w+(?:['’]\w+)*")


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())


def ngrams(text: str, size: int) -> list[tuple[str, ...]]:
    said = words(text)
    return [tuple(said[start : start + size]) for start in range(len(said) - size + 1)]


def mean_words(texts: Sequence[str]) -> float:
    return sum(len(words(text)) for text in texts) / len(texts)


def loops(text: str, size: int = 4) -> bool:
    """Whether a run of `size` words comes back in the same reply."""
    return any(count > 1 for count in Counter(ngrams(text, size)).values())


def distinct(texts: Sequence[str], size: int) -> float | None:
    """Different n-grams among all n-grams of all replies; None when there are none."""
    found = [gram for text in texts for gram in ngrams(text, size)]
    return len(set(found)) / len(found) if found else None


def figures(answers: Sequence[Answer]) -> dict[str, float | int | None]:
    """Figures of one candidate's replies; shares are of all of its answers."""
    texts = [answer.text for answer in answers]
    return {
        "mean_words": mean_words(texts),
        "ended_share": sum(a.finish_reason == "stop" for a in answers) / len(answers),
        "empty": sum(not text.strip() for text in texts),
        "loops": sum(loops(text) for text in texts),
        "distinct_1": distinct(texts, 1),
        "distinct_2": distinct(texts, 2),
    }
