"""The two pages of reference, made of the code: commands with their help, names with their docs.

In: the table of commands, the source files and `public.yaml`. Out: Markdown. Refused: a public name
that the code does not define or does not describe (LookupError).
"""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
COLUMNS = 88
Described = ast.FunctionDef | ast.ClassDef


def commands() -> str:
    """Every command with its help, in the order of the tables."""
    from distill.cli import COMMANDS
    from distill.core.command import every_command

    parts = []
    for words, command in every_command(COMMANDS):
        context = command.context_class(
            command, info_name=f"distill {words}", terminal_width=COLUMNS
        )
        text = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
        parts.append(f"## distill {words}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)


def public_names() -> dict[str, dict[str, str | None]]:
    """Module -> name -> its parameters, or nothing where others need not make one."""
    text = (Path(__file__).parent / "public.yaml").read_text("utf-8")
    table: dict[str, dict[str, str | None]] = yaml.safe_load(text)
    return table


def source_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def definition(module: str, name: str) -> Described:
    """The class, function or method of a name, through the import that offers it, if any."""
    first, _, rest = name.partition(".")
    for node in ast.parse(source_of(module).read_text("utf-8")).body:
        if isinstance(node, Described) and node.name == first:
            return member(node, rest, module) if rest else node
        if isinstance(node, ast.ImportFrom) and first in {a.asname or a.name for a in node.names}:
            return definition(node.module or "", name)
    raise LookupError(f"{module} defines no {name}")


def member(node: Described, name: str, module: str) -> Described:
    for one in node.body:
        if isinstance(one, Described) and one.name == name:
            return one
    raise LookupError(f"{module}.{node.name} defines no {name}")


def signature(node: Described) -> str:
    """Parameters by name, as a caller may write them; those of `__init__` for a class."""
    if isinstance(node, ast.FunctionDef):
        return f"({', '.join(parameters(node.args))})"
    for one in node.body:
        if isinstance(one, ast.FunctionDef) and one.name == "__init__":
            return signature(one)
    return f"({', '.join(fields(node))})"


def parameters(given: ast.arguments) -> Iterator[str]:
    for one in [*given.posonlyargs, *given.args]:
        if one.arg not in ("self", "cls"):
            yield one.arg
    if given.vararg:
        yield f"*{given.vararg.arg}"
    elif given.kwonlyargs:
        yield "*"
    yield from (one.arg for one in given.kwonlyargs)
    if given.kwarg:
        yield f"**{given.kwarg.arg}"


def fields(node: ast.ClassDef) -> Iterator[str]:
    """What a record, dataclass or exception is made of."""
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            yield one.target.id


def names() -> str:
    """Every public name with its parameters and its docstring, module by module."""
    parts = []
    for module, promised in public_names().items():
        said = ast.get_docstring(ast.parse(source_of(module).read_text("utf-8"))) or ""
        parts.append(f"## {module}\n\n{said.partition(chr(10) * 2)[0]}\n")
        for name, called in promised.items():
            node = definition(module, name)
            if not (said := ast.get_docstring(node)):
                raise LookupError(f"{module}.{name} is public and has no docstring")
            call = f"```python\n{wrapped(name + called)}\n```\n\n" if called else ""
            parts.append(f"### {name}\n\n{call}{said}\n")
    return "\n".join(parts)


def wrapped(call: str) -> str:
    indent = " " * (call.index("(") + 1)
    return textwrap.fill(call, COLUMNS, subsequent_indent=indent, break_long_words=False)


PAGES = {"commands": commands, "api": names}
