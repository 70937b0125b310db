"""Grammars and JSON schemas that llama.cpp may be given: native code prints what it cannot parse,
and aborts on some of it.

In: GBNF, or a JSON schema as text. Out: GBNF whose every rule is defined and within bounds.
Refused (BadInput), with the place: everything else.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from distill.core.errors import BadInput

MAX_CHARACTERS = 32 * 1024
MAX_DEPTH = 32
MAX_REPEATS = 1000
ROOT = "root"
ESCAPE = r"\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|[tnr\\\"\[\]])"
TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+|\#[^\r\n]*)"
    r"|(?P<rule>[A-Za-z0-9-]+)[ \t]*::="
    r"|(?P<name>[A-Za-z0-9-]+)"
    rf'|(?P<literal>"(?:{ESCAPE}|[^"\\\r\n])*")'
    rf"|(?P<class>\[\^?(?:{ESCAPE}|[^\]\\\r\n])+\])"
    r"|(?P<dot>\.)"
    r"|(?P<repeat>[*+?]|\{[0-9]{1,9}(?:,[0-9]{0,9})?\})"
    r"|(?P<open>\()|(?P<close>\))|(?P<or>\|)"
)
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
OPERAND = ("name", "literal", "class", "dot", "close")


class Part(NamedTuple):
    kind: str
    text: str
    line: int


def checked(grammar: str) -> str:
    """The same GBNF, once it is known to be well-formed."""
    if len(grammar) > MAX_CHARACTERS:
        raise BadInput(
            f"the grammar has {len(grammar)} characters; at most {MAX_CHARACTERS} are accepted"
        )
    if "\0" in grammar:
        raise BadInput("the grammar holds a zero byte, at which native code would stop reading")
    if any("\ud800" <= character <= "\udfff" for character in grammar):
        raise BadInput("the grammar holds half a surrogate pair: no valid text")
    defined: set[str] = set()
    used: dict[str, int] = {}
    depth, before = 0, ""
    for part in parts(grammar):
        if part.kind == "rule":
            if depth:
                raise refusal(part.line, "a parenthesis is not closed")
            if part.text in defined:
                raise refusal(part.line, f"the rule {part.text} is defined twice")
            defined.add(part.text)
        elif not defined:
            raise refusal(part.line, f"{part.text!r} stands before the first rule")
        elif part.kind == "repeat":
            check_repeat(part, before)
        elif part.kind == "name":
            used.setdefault(part.text, part.line)
        depth += (part.kind == "open") - (part.kind == "close")
        if depth < 0:
            raise refusal(part.line, "a parenthesis is closed that was not opened")
        if depth > MAX_DEPTH:
            raise refusal(part.line, f"parentheses are nested more than {MAX_DEPTH} deep")
        before = part.kind
    if depth:
        raise BadInput("the grammar ends inside a parenthesis")
    if ROOT not in defined:
        raise BadInput(f"the grammar has no rule named {ROOT}")
    for name, line in used.items():
        if name not in defined:
            raise refusal(line, f"the rule {name} is not defined")
    return grammar


def parts(grammar: str) -> Iterator[Part]:
    place, line = 0, 1
    while place < len(grammar):
        match = TOKEN.match(grammar, place)
        if match is None or match.lastgroup is None:
            raise refusal(line, f"{grammar[place : place + 12]!r} is no GBNF")
        if match.lastgroup != "space":
            yield Part(match.lastgroup, match[match.lastgroup], line)
        line += match.group().count("\n")
        place = match.end()


def check_repeat(part: Part, before: str) -> None:
    if before not in OPERAND:
        raise refusal(part.line, f"{part.text} repeats nothing")
    counts = [int(count) for count in re.findall(r"[0-9]+", part.text)]
    if max(counts, default=0) > MAX_REPEATS:
        raise refusal(part.line, f"{part.text} repeats more than {MAX_REPEATS} times")
    if len(counts) == 2 and counts[0] > counts[1]:
        raise refusal(part.line, f"{part.text} ends before it begins")


def refusal(line: int, found: str) -> BadInput:
    return BadInput(f"the grammar cannot be used: line {line}: {found}")


def grammar_of(schema: str) -> str:
    """GBNF of the JSON texts that a schema accepts, by llama-cpp-python's own converter."""
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    if len(schema) > MAX_CHARACTERS:
        raise BadInput(
            f"the JSON schema has {len(schema)} characters; at most {MAX_CHARACTERS} are accepted"
        )
    try:
        parsed = json.loads(schema)
        if not isinstance(parsed, dict):
            raise BadInput("the JSON schema is no object")
        check_counts(parsed)
        grammar = json_schema_to_gbnf(schema)
    except BadInput:
        raise
    except Exception as error:  # the converter checks nothing: any error is the schema's
        raise BadInput(f"the JSON schema cannot be used: {type(error).__name__}: {error}") from None
    return checked(grammar)


def check_counts(schema: Any) -> None:
    """Refuse counts that the converter would write out, one copy after the other."""
    rest = [schema]
    while rest:
        found = rest.pop()
        if isinstance(found, list):
            rest += found
        if not isinstance(found, dict):
            continue
        rest += found.values()
        for name in COUNTS:
            if isinstance(count := found.get(name), int | float) and count > MAX_REPEATS:
                raise BadInput(f"the JSON schema has {name} {count}; at most {MAX_REPEATS}")
        numbers = map(int, re.findall(r"(?<=[{,])[0-9]{1,9}", str(found.get("pattern", ""))))
        if math.prod(number or 1 for number in numbers) > MAX_REPEATS:
            raise BadInput(
                f"the JSON schema has a pattern that repeats more than {MAX_REPEATS} times"
            )
