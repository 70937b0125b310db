"""Commands: a table of text names them, and one boundary prints their errors.

In: a table of entries, and the words of a command line. A command module holds a function decorated
with `@command`; it returns an `Outcome`. The module is imported only when its command is chosen, or
its options are asked for. Out: the outcome, as text or as JSON, and an exit code. Refused: what the
command refuses, and words that it does not know.
"""

import contextlib
import errno
import functools
import importlib
import importlib.util
import inspect
import json as json_format
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from distill.core.errors import BadInput, KindredError, MissingExtra
from distill.core.progress import complain, hush

PACKAGE = "kindred-slm"
EXIT_CODES = """\b
Exit codes:
  0    done
  1    it ran, and the answer is no: a gate, a leak check, a requirement
  2    something that you can mend, told in one line
  130  stopped by Ctrl-C; the same command goes on
"""

MENDABLE = {
    errno.ENOSPC: "no space is left on the disk; free some and run the same command again",
    errno.EACCES: "permission denied",
    errno.EROFS: "the disk is read-only",
    errno.EISDIR: "this is a folder; give a file",
    errno.ENOTDIR: "a part of this path is a file, not a folder",
    errno.ENAMETOOLONG: "this name is too long for a file",
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
    """Add --json, --quiet and the printing of the outcome to a function with Typer annotations."""

    @functools.wraps(function)
    def run(*args: Any, json: bool = False, quiet: bool = False, **kwargs: Any) -> None:
        hush(quiet)
        outcome = function(*args, **kwargs)
        if json:
            sys.stdout.write(json_format.dumps(outcome.data, ensure_ascii=False) + "\n")
        else:
            show(outcome.text)
        if outcome.exit_code:
            raise typer.Exit(outcome.exit_code)

    options = {
        "json": typer.Option("--json", help="Print one JSON object and nothing else."),
        "quiet": typer.Option("--quiet", "-q", help="No progress and no remarks; errors remain."),
    }
    added = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option]
        )
        for name, option in options.items()
    ]
    signature = inspect.signature(function)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *added], return_annotation=None
    )
    annotations = {one.name: one.annotation for one in added}
    run.__annotations__ = {**function.__annotations__, **annotations, "return": None}
    return run


# Tables of the runtime for `offered`, by name: eval and demo may not import it.
GUARD_LOCALES, DEVICE_PROFILES = "runtime.guarding.locales:locales", "runtime.device:NAMES"
BY_LANGUAGE = "auto"  # a locale: that of the reader's language


def offered(values: Iterable[str] | str, *also: str) -> Callable[[str], list[str]]:
    """For `autocompletion=`: the values that begin as a word does.

    `MODULE:NAME` is a table, or what makes one, that is imported only when a shell asks.
    """

    def matching(incomplete: str) -> list[str]:
        known = [*also, *(found(values) if isinstance(values, str) else values)]
        return [value for value in known if value.startswith(incomplete)]

    return matching


def found(place: str) -> Iterable[str]:
    module, _, name = place.partition(":")
    table: Any = getattr(importlib.import_module(module), name)
    values: Iterable[str] = table() if callable(table) else table
    return values


def show(text: list[Any]) -> None:
    """Print strings as they are, and rich tables as tables."""
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for part in text:
        console.print(part, markup=False) if isinstance(part, str) else console.print(part)


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


class Group(TyperGroup):
    """Commands by name and one line of help; only the one that is chosen is imported."""

    table: Mapping[str, Entry]
    bare: str | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ([self.bare] if self.bare else []))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if self.bare and args[0] not in self.table and Path(args[0]).exists():
            whole = f"{ctx.command_path} {self.bare} {quote(args[0])}"
            raise BadInput(f"{args[0]} is no command; give it to one: {whole}")
        name, known, rest = super().resolve_command(ctx, args)
        return name, None if known is None else load(known.name or "", self.table[args[0]]), rest


def group_of(
    name: str,
    help: str,
    table: Mapping[str, Entry],
    bare: str | None = None,
    *,
    outermost: bool = False,
) -> Any:
    """A group of the table's commands; without a word it runs `bare`, or shows its help."""
    app = typer.Typer(
        cls=Group,
        help=help,
        epilog=EXIT_CODES if outermost else None,
        no_args_is_help=bare is None,
        add_completion=outermost,
        context_settings={"help_option_names": ["--help", "-h"]},
        rich_markup_mode=None,
    )
    app.callback()(with_version(name) if outermost else lambda: None)
    for word, entry in table.items():
        app.command(word, help=entry.help, short_help=entry.help)(lambda: None)
    group: Any = typer.main.get_command(app)
    group.name, group.table, group.bare = name, table, bare
    return group


def every_command(table: Mapping[str, Entry], *words: str) -> Iterator[tuple[str, Any]]:
    """Each command of a table, groups included, loaded, with the words that call it.

    What needs an extra that is not installed is left out.
    """
    for word, entry in table.items():
        with contextlib.suppress(MissingExtra):
            loaded = load(word, entry)
            yield " ".join((*words, word)), loaded
            yield from every_command(getattr(loaded, "table", {}), *words, word)


def with_version(name: str) -> Callable[..., None]:
    def tell(wanted: bool) -> None:
        if wanted:
            from importlib import metadata

            sys.stdout.write(f"{name} {metadata.version(PACKAGE)}\n")
            raise typer.Exit

    option = typer.Option("--version", callback=tell, is_eager=True, help="Print the version.")

    def outermost(version: Annotated[bool, option] = False) -> None:
        """`--version` has done all that it does before this is called."""

    return outermost


def main(name: str, help: str, table: Mapping[str, Entry], bare: str | None = None) -> None:
    """Run a command line; a mendable error is one line on standard error."""
    hush(False)
    group = group_of(name, help, table, bare, outermost=True)
    try:
        code = group.main(prog_name=name, standalone_mode=False)
    except KindredError as error:
        if completion_variable(name) in os.environ:  # a remark would land in the person's prompt
            raise SystemExit(error.exit_code) from error
        fail(str(error), error.exit_code)
    except typer.TyperException as error:
        misspelt(error)
    except typer.Abort:
        fail("stopped", 1)
    except OSError as error:
        if error.errno not in MENDABLE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        fail(f"{where}{MENDABLE[error.errno]}", 2)
    raise SystemExit(code or 0)


def completion_variable(name: str) -> str:
    """What a shell sets when it asks what the next word may be."""
    return f"_{name}_COMPLETE".replace("-", "_").upper()


def misspelt(error: Any) -> None:
    """Words that are no command line: Typer says which, and how they may have been meant."""
    error.show()
    fail_in_json(error.format_message())
    raise SystemExit(error.exit_code)


def fail(message: str, exit_code: int) -> None:
    complain(f"error: {message}")
    fail_in_json(message)
    raise SystemExit(exit_code)


def fail_in_json(message: str) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json_format.dumps({"error": message}, ensure_ascii=False) + "\n")
