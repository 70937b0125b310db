"""Commands: a table of text names them, and one boundary prints their errors.

A command module holds a function decorated with `@command`; it returns an `Outcome`. The module
is imported only when its command is chosen. Exit codes: 0 done, 1 a check said no, 2 a person
can mend it.
"""

import errno
import functools
import importlib
import importlib.util
import inspect
import json as json_format
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from distill.core.errors import KindredError, MissingExtra
from distill.core.progress import say

MENDABLE = {
    errno.ENOSPC: "no space is left on the disk; free some and run the same command again",
    errno.EACCES: "permission denied",
    errno.EROFS: "the disk is read-only",
    errno.EADDRINUSE: "the port is in use; choose another with --port",
}


@dataclass(frozen=True)
class Entry:
    """One command: where its function lives, what it says of itself, what it needs."""

    module: str
    help: str
    extra: str | None = None
    needs: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a command found: `data` for --json, `text` (strings or rich tables) for people."""

    data: Mapping[str, Any]
    text: list[Any] = field(default_factory=list)
    exit_code: int = 0


def command(function: Callable[..., Outcome]) -> Callable[..., None]:
    """Add --json and the printing of the outcome to a function with Typer annotations."""

    @functools.wraps(function)
    def run(*args: Any, json: bool = False, **kwargs: Any) -> None:
        outcome = function(*args, **kwargs)
        if json:
            sys.stdout.write(json_format.dumps(outcome.data, ensure_ascii=False) + "\n")
        else:
            console = Console(highlight=False, soft_wrap=True)
            for part in outcome.text:
                console.print(part, markup=False) if isinstance(part, str) else console.print(part)
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)

    option = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
    signature = inspect.signature(function)
    parameter = inspect.Parameter(
        "json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=option
    )
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), parameter], return_annotation=None
    )
    run.__annotations__ = {**function.__annotations__, "json": option, "return": None}
    return run


def load(name: str, entry: Entry) -> Any:
    """Import a command's module and turn its `@command` function, or group, into a command."""
    missing = [module for module in entry.needs if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"{name} needs the extra '{entry.extra}' ({', '.join(missing)} not installed); "
            f"install it with: pip install 'kindred-slm[{entry.extra}]'"
        )
    module = importlib.import_module(entry.module)
    if isinstance(group := getattr(module, "GROUP", None), Mapping):
        return group_of(name, module.__doc__ or "", group, getattr(module, "BARE", None))
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(name)(module.run)
    loaded = typer.main.get_command(app)
    loaded.name = name
    return loaded


def group_of(name: str, help: str, table: Mapping[str, Entry], bare: str | None = None) -> Any:
    """A group whose commands are imported only when chosen; `bare` is run when none is named."""

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, args or ([bare] if bare else []))

        def list_commands(self, ctx: Any) -> list[str]:
            return list(table)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            entry = table.get(cmd_name)
            return None if entry is None else load(cmd_name, entry)

        def format_commands(self, ctx: Any, formatter: Any) -> None:
            with formatter.section("Commands"):
                formatter.write_dl([(n, e.help) for n, e in table.items()])

    return Group(name=name, help=help, no_args_is_help=True, rich_markup_mode=None)


def main(name: str, help: str, table: Mapping[str, Entry], bare: str | None = None) -> None:
    """Run a command line; a mendable error is one line on standard error."""
    try:
        group_of(name, help, table, bare)(prog_name=name)
    except KindredError as error:
        fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{MENDABLE[error.errno]}", 2)


def fail(message: str, exit_code: int) -> None:
    say(f"error: {message}")
    if "--json" in sys.argv:
        sys.stdout.write(json_format.dumps({"error": message}, ensure_ascii=False) + "\n")
    raise SystemExit(exit_code)
