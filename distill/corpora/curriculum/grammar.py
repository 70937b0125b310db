"""Slot grammar of the curriculum: `{who}`, `{Who}`, `{who:he}`.

In: a template and the fillers drawn for its slots. Out: one sentence.
Refused: a slot that nothing fills (KeyError names it).

A filler is written `text|pronoun`, as in `my sister|she`. In what the other side says, the
filler changes person: `my sister` becomes `your sister`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

SLOT = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]*)(?::([A-Za-z]+))?\}")

PRONOUNS = {
    "he": {"he": "he", "him": "him", "his": "his", "himself": "himself"},
    "she": {"he": "she", "him": "her", "his": "her", "himself": "herself"},
    "it": {"he": "it", "him": "it", "his": "its", "himself": "itself"},
    "they": {"he": "they", "him": "them", "his": "their", "himself": "themselves"},
}
FIRST_PERSON: Mapping[str, str] = {}
SECOND_PERSON = {
    "my": "your",
    "our": "your",
    "mine": "yours",
    "me": "you",
    "i": "you",
    "we": "you",
    "us": "you",
    "am": "are",
    "myself": "yourself",
}


@dataclass(frozen=True, slots=True)
class Filler:
    """What fills a slot, and the pronoun that refers to it."""

    text: str
    pronoun: str = "it"

    @classmethod
    def parse(cls, entry: str) -> "Filler":
        text, _, pronoun = entry.partition("|")
        return cls(text.strip(), pronoun.strip() or "it")


THIRD_PERSON = {
    "my": "their",
    "our": "their",
    "mine": "theirs",
    "me": "them",
    "myself": "themselves",
}


def slots_of(template: str) -> set[str]:
    return {match.group(1).lower() for match in SLOT.finditer(template)}


def in_person(text: str, words: Mapping[str, str]) -> str:
    return " ".join(words.get(word.lower(), word) for word in text.split(" "))


def render(
    template: str, fillers: Mapping[str, Filler], person: Mapping[str, str] = FIRST_PERSON
) -> str:
    """Fill the slots in the person of the one who speaks: the teller, the listener, a note."""

    def fill(match: re.Match[str]) -> str:
        name, form = match.groups()
        filler = fillers[name.lower()]
        if form:
            text = PRONOUNS[filler.pronoun][form.lower()]
            return text.capitalize() if form[0].isupper() else text
        text = in_person(filler.text, person)
        return text[:1].upper() + text[1:] if name[0].isupper() else text

    return SLOT.sub(fill, template)
