"""A jinja2 environment for templates from files that nobody vouches for.

In: a template's source. Out: a compiled template. On top of jinja2's immutable sandbox every
loop, macro, call and filter counts against a `Budget`, and nothing grows beyond `MAX_SIZE`: what
would is a `TooMuch`, which no template can catch.
"""

import functools
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from itertools import islice
from typing import Any, cast

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_SIZE = 2 * 1024 * 1024  # characters of a text; elements and characters of a structure
MAX_MADE = 8 * MAX_SIZE  # of all values that one rendering makes
ELEMENT = 16  # what an element weighs, in characters
MAX_NODES = 4000  # of the parsed source; the largest published templates have a third of it
MAX_STEPS = 200_000
MAX_INDENT = 16
MAX_BITS = 256
ALLOWED_FILTERS = (
    "abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float",
    "indent", "int", "items", "join", "last", "length", "list", "lower", "map", "max", "min",
    "reject", "rejectattr", "replace", "reverse", "round", "safe", "select", "selectattr", "sort",
    "string", "title", "trim", "unique", "upper",
)  # fmt: skip
LAZY_FILTERS = {"map", "reject", "rejectattr", "select", "selectattr"}
# Methods that write as many characters as a number says.
PADDING = {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill", "translate"}
CALL = nodes.EnvironmentAttribute
_budget: ContextVar["Budget"] = ContextVar("budget")


class TooMuch(Exception):
    """A template that asks for more steps, time or memory than any prompt needs."""


class Budget:
    """Steps and seconds of one rendering; `with budget:` makes it the current one."""

    def __init__(self, limit_s: float) -> None:
        self._deadline = time.monotonic() + limit_s
        self._steps = self._made = 0

    def step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS or time.monotonic() > self._deadline:
            raise TooMuch("it does not come to an end")

    def make(self, size: int) -> None:
        self._made += size
        if self._made > MAX_MADE:
            raise TooMuch("it makes too much")

    def __enter__(self) -> "Budget":
        self._token = _budget.set(self)
        return self

    def __exit__(self, *_: object) -> None:
        _budget.reset(self._token)


def step() -> None:
    if budget := _budget.get(None):
        budget.step()


def weighed(value: Any) -> Any:
    """The same value, unless it is larger than a prompt can be (shared parts count each time)."""
    size = size_of(value)
    if budget := _budget.get(None):
        budget.make(size)
    return value


def size_of(value: Any) -> int:
    """Characters and elements, shared ones each time."""
    size, left = 0, [value]
    while left:
        part = left.pop()
        size += ELEMENT
        if isinstance(part, str):
            size += len(part)
        elif isinstance(part, int):
            size += part.bit_length() // 8
        elif isinstance(part, Mapping):
            left += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            left += part
        if size + ELEMENT * len(left) > MAX_SIZE:
            raise TooMuch("it makes something too large")
    return size


def taken(values: Any) -> Any:
    """What an iterator yields, as a list that is not too large; anything else as it is."""
    if not isinstance(values, Iterator):
        return values
    kept: list[Any] = []
    size = 0
    for value in values:
        step()
        kept.append(value)
        size += size_of(value)
        if size > MAX_SIZE:
            raise TooMuch("it makes something too large")
    return kept


def joined(parts: Iterable[Any], between: str = "") -> str:
    """Texts as one; stops before it is too long."""
    texts: list[str] = []
    size = 0
    for part in parts:
        texts.append(str(weighed(part)))
        size += len(texts[-1]) + len(between)
        if size > MAX_SIZE:
            raise TooMuch("it writes too much")
    return between.join(texts)


def checked_replace(text: str, old: str, new: str) -> None:
    places = text.count(old) if old else len(text) + 1
    if len(text) + places * len(new) > MAX_SIZE:
        raise TooMuch("it writes too much")


class GenerationTag(Extension):
    """`{% generation %}` marks the reply for a training loss; here its body is plain text."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Any) -> Any:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class Counting(NodeTransformer):
    """Loops and macros count a step; what could grow without a filter or a call is weighed."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._counted(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._counted(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._counted(node)

    def _counted(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(called("step", [])))
        return cast(nodes.Node, node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return called("together", node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Node:
        return self._weighed(node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        return self._weighed(node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        if node.ctx == "load":
            return self._weighed(node)
        return node  # what a loop or an assignment unpacks into

    def _weighed(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        return called("weigh", [node])


def called(name: str, arguments: Sequence[nodes.Node]) -> nodes.Call:
    return nodes.Call(CALL(name), list(arguments), [], None, None)


class Bounded(ImmutableSandboxedEnvironment):
    """jinja2's immutable sandbox, with every operation counted and every size bounded."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
        )
        own = {"join": _join, "replace": _replace, "indent": _indent, "tojson": _to_json}
        chosen = {name: FILTERS[name] for name in ALLOWED_FILTERS} | own
        self.filters = {name: bounded(name, function) for name, function in chosen.items()}
        self.globals = {name: self.globals[name] for name in ("range", "dict", "namespace")}
        self.step, self.weigh = step, weighed
        self.concat = joined  # type: ignore[method-assign]

    def together(self, *parts: Any) -> str:
        return joined(parts)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        parsed = super()._parse(source, name, filename)
        if sum(1 for _ in islice(parsed.find_all(nodes.Node), MAX_NODES + 1)) > MAX_NODES:
            raise TooMuch(f"it has more than {MAX_NODES} parts")
        return cast(nodes.Template, Counting().visit(parsed))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Any:
        raise SecurityError(f"it reaches for {attribute[:40]!r} of a {type(obj).__name__}")

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, int | float | bytes | range) or attr in PADDING:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        return None  # PADDING refuses it

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        step()
        args = tuple(taken(argument) for argument in args)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace" and len(args) >= 2:
            checked_replace(owner, str(args[0]), str(args[1]))
        if isinstance(owner, str) and name == "join" and args:
            return joined(args[0], owner)
        return weighed(super().call(__context, __obj, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        step()
        BINOPS[operator](left, right)
        return weighed(super().call_binop(context, operator, left, right))


def bounded(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A filter that counts as a step, and whose result is weighed."""

    @functools.wraps(function)  # with jinja2's marks of what it passes first
    def counted(*args: Any, **kwargs: Any) -> Any:
        step()
        if name not in LAZY_FILTERS:
            args = tuple(taken(argument) for argument in args)
        return weighed(function(*args, **kwargs))

    return counted


def _to_json(value: Any, indent: int | None = None, ensure_ascii: bool = False) -> str:
    if indent is not None and indent > MAX_INDENT:
        raise TooMuch("it writes too much")
    return json.dumps(weighed(value), indent=indent, ensure_ascii=ensure_ascii)


def _join(values: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        raise SecurityError("join takes no attribute here; use map(attribute=...) | join")
    return joined(values, str(d))


def _replace(text: Any, old: str, new: str, count: int = -1) -> str:
    checked_replace(str(text), str(old), str(new))
    return str(text).replace(str(old), str(new), -1 if count is None else count)


def _indent(text: str, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    size = width if isinstance(width, int) else len(width)
    if size > MAX_INDENT or len(text) + (text.count("\n") + 1) * size > MAX_SIZE:
        raise TooMuch("it writes too much")
    return str(FILTERS["indent"](text, width, first, blank))


def _plus(left: Any, right: Any) -> None:
    if hasattr(left, "__len__") and hasattr(right, "__len__") and len(left) + len(right) > MAX_SIZE:
        raise TooMuch("it makes something too large")


def _times(left: Any, right: Any) -> None:
    for value, count in ((left, right), (right, left)):
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise TooMuch("it makes a number too large")
        if hasattr(value, "__len__") and isinstance(count, int) and len(value) * count > MAX_SIZE:
            raise TooMuch("it makes something too large")


def _power(left: Any, right: Any) -> None:
    if abs(right) > MAX_BITS or (isinstance(left, int) and left.bit_length() * right > MAX_BITS):
        raise TooMuch("it makes a number too large")


def _rest(left: Any, right: Any) -> None:
    if isinstance(left, str) and any(c.isdigit() or c == "*" for c in left):
        raise TooMuch("it pads a text by a number")


BINOPS: Mapping[str, Callable[[Any, Any], None]] = {
    "+": _plus,
    "*": _times,
    "**": _power,
    "%": _rest,
}
