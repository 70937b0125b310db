"""The help lines of a reader's own country, by the languages that a browser asks for.

In: a guard, and the value of an `Accept-Language` header. Out: the same guard, with the locale of
the language that stands first. Nothing is refused: a language without a country, or one whose help
lines are not known, leaves the guard as it is.
"""

from copy import copy
from typing import TYPE_CHECKING

from runtime.guarding.locales import locales

if TYPE_CHECKING:
    from runtime.guard import Guard


def speaking(guard: "Guard", languages: str) -> "Guard":
    """Only the first language counts: the next ones may be those of other countries."""
    wanted = first_of(languages).lower()
    for name in locales():
        if name.lower() == wanted:
            own = copy(guard)
            own.locale = name
            return own
    return guard


def first_of(languages: str) -> str:
    """The language that is liked best, of `de-DE,de;q=0.9,en;q=0.8`."""
    return max(languages.split(","), key=liking).partition(";")[0].strip()


def liking(language: str) -> float:
    _, _, weight = language.partition(";")
    name, _, value = weight.strip().partition("=")
    try:
        return float(value) if name == "q" else 1.0
    except ValueError:
        return 0.0
