"""Which people can help, by country, and the block that names them.

In: `locales.yaml`, a locale, an entry of the policy. Out: `Resource`s and the text of a block.
Refused: a locale that is not in the file (BadInput).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import yaml

from distill.core.errors import BadInput

BUNDLED = "locales.yaml"
DEFAULT = "default"
END = "\n\n"  # ends a block, and occurs nowhere within
OPENINGS = {"self": "before", "other": "other_before", "danger": "danger_before"}


@dataclass(frozen=True)
class Resource:
    """One line that names help: its kind (crisis, emergency, ...) and its text."""

    kind: str
    text: str


@lru_cache(maxsize=1)
def locales() -> dict[str, dict[str, str | list[str]]]:
    text = (resources.files(__package__) / BUNDLED).read_text("utf-8")
    found = yaml.safe_load(text)
    return {name: {**found[DEFAULT], **lines} for name, lines in found.items()}


def known(locale: str) -> str:
    """The locale's name as the file spells it."""
    wanted = locale.replace("_", "-").lower()
    for name in locales():
        if name.lower() == wanted:
            return name
    names = ", ".join(locales())
    raise BadInput(f"the guard knows no help lines for {locale!r}; choose one of {names}")


def resources_for(locale: str, kinds: Sequence[str]) -> tuple[Resource, ...]:
    lines = locales()[locale]
    return tuple(Resource(kind, text) for kind in kinds for text in lines[kind])


def block(locale: str, entry: str, shown: Sequence[Resource]) -> str:
    """What stands before the model's text; it always ends the same way."""
    lines = [str(locales()[locale][OPENINGS[entry]])]
    return "\n".join([*lines, *(f"- {resource.text}" for resource in shown)]) + END


def openings() -> Iterator[str]:
    """The first line of every block there is."""
    for lines in locales().values():
        for name in OPENINGS.values():
            yield f"{lines[name]}\n"
