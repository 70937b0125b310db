"""The rules of `distill curate`, in the order in which they look: one file and one line each.

A response is refused by the first rule that says so, and later rules do not see it. `mean-length`
comes last: it weighs all that the others kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.core.errors import BadInput
from distill.curating import leaks, length, loops, meaning, refusing, repeats
from distill.curating.case import Check, Settings

MEAN_LENGTH = "mean-length"


@dataclass(frozen=True)
class Rule:
    """How a rule is made for a run, and what it refuses; the mean has no check of its own."""

    check: Callable[[Settings], Check] | None
    help: str


RULES = {
    "length": Rule(length.check, "more words than allowed"),
    "refusal": Rule(refusing.check, "a model that declines or talks of itself or its task"),
    "loop": Rule(loops.check, "the same words again and again"),
    "leak": Rule(leaks.check, "privileged words that the dialogue does not say"),
    "meaning": Rule(meaning.check, "an improvement unlike its original"),
    "near-duplicate": Rule(repeats.check, "what another response says already"),
    MEAN_LENGTH: Rule(None, "the longest, until the mean is met"),
}


def wanted_rules(names: str | None) -> list[str]:
    """Rules by a list with commas, in the order of the table; all without one."""
    if names is None:
        return list(RULES)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted or (unknown := [name for name in wanted if name not in RULES]):
        found = unknown[0] if wanted else names
        raise BadInput(f"there is no rule named {found!r}; known are: {', '.join(RULES)}")
    return [name for name in RULES if name in wanted]


def checks_of(names: Sequence[str], settings: Settings) -> dict[str, Check]:
    made = {name: RULES[name].check for name in names}
    return {name: check(settings) for name, check in made.items() if check}
