"""The guard's options on the command line, the same for every command that shows model text.

In: a switch, a locale, a policy file. Out: a `Guard`, or none and a line that says so. Refused: an
unknown locale, a broken policy (BadInput), a policy file that is not there (MissingInput).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from distill.core.command import GUARD_LOCALES, offered
from distill.core.progress import say

if TYPE_CHECKING:
    from runtime.guard import Guard

OFF = "warning: the guard is off: a message that suggests a crisis is answered by the model alone"

GuardSwitch = Annotated[
    Literal["on", "off"],
    typer.Option(help="Name people who can help, before model text, when a message needs it."),
]
GuardLocale = Annotated[
    str,
    typer.Option(
        help="Whose help lines are named, e.g. en-US; the default names no country's.",
        autocompletion=offered(GUARD_LOCALES),
    ),
]
GuardPolicy = Annotated[
    Path | None, typer.Option(help="A guard policy of your own, instead of the bundled one.")
]


def guard_for(switch: str, locale: str, policy: Path | None) -> "Guard | None":
    """The guard that the options ask for; off only when told so, and never silently."""
    from runtime.guard import Guard
    from runtime.guarding.policy import read_policy

    watching = Guard(locale=locale, policy=read_policy(policy))
    if switch == "off":
        say(OFF)
        return None
    return watching
