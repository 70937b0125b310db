"""Options that several commands share, declared once as the fields of a dataclass.

In: a dataclass whose fields are Typer annotations, and a command's function with one argument for
it. Out: the same function with each field as an option. Nothing is refused here.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, Field, fields
from typing import Any, get_type_hints

from distill.core.command import Outcome


def with_options(
    shared: type[Any], argument: str
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Give a command the fields of `shared` as options; it receives them as `argument`."""
    hints = get_type_hints(shared, include_extras=True)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default_of(one),
            annotation=hints[one.name],
        )
        for one in fields(shared)
    ]

    def wrap(function: Callable[..., Outcome]) -> Callable[..., Outcome]:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Outcome:
            value = shared(**{one.name: kwargs.pop(one.name) for one in options})
            return function(*args, **{argument: value}, **kwargs)

        signature = inspect.signature(function)
        own = [
            one.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, one in signature.parameters.items()
            if name != argument
        ]
        every = [*own, *options]
        run.__signature__ = signature.replace(parameters=every)  # type: ignore[attr-defined]
        run.__annotations__ = {one.name: one.annotation for one in every} | {"return": Outcome}
        return run

    return wrap


def default_of(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return inspect.Parameter.empty if one.default is MISSING else one.default
