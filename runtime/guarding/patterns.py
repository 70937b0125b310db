"""Patterns over words: as readable as phrases, and as fast for a thousand as for one.

In: lists of patterns by name, and classes of words. Out: `Patterns.find(words)`, every place where
a pattern occurs. Refused: a pattern that may match nothing, whose brackets do not match, or that
names no class (BadInput). No pattern can make a search slow: it neither repeats nor looks back.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from distill.core.errors import BadInput
from runtime.guarding.words import STOP, contracted

GAP = ".."
GAP_WORDS = 3
LONGEST = 2000
DEEPEST = 20
PARTS = re.compile(r"\(|\)|\||[^\s()|]+")
ATOM = re.compile(r"\.\.|<[a-z_]+>|[^\W_]+\*?|[\U0001F300-\U0001FAFF]")


class Found(NamedTuple):
    """One occurrence: words[start:end] match a pattern of the list `name`."""

    name: str
    start: int
    end: int


@dataclass(eq=False)
class Node:
    """A place within a pattern: which word leads where, and which lists end here."""

    edges: dict[str, list["Node"]] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)

    def lead(self, atom: str, target: "Node") -> None:
        self.edges.setdefault(atom, []).append(target)


class Patterns:
    """All patterns as one graph without cycles, entered at every word."""

    def __init__(
        self, lists: Mapping[str, Sequence[str]], classes: Mapping[str, Sequence[str]]
    ) -> None:
        self._root = Node()
        self._known = {f"<{name}>" for name in classes}
        self._classes: dict[str, list[str]] = {}
        for name, members in classes.items():
            for word in members:
                self._classes.setdefault(word, []).append(f"<{name}>")
        self._stems: set[str] = set()
        for name, patterns in lists.items():
            for pattern in patterns:
                try:
                    self._add(name, pattern)
                except BadInput as error:
                    raise BadInput(f"the pattern {pattern[:60]!r} of {name} {error}") from None
        self._sizes = sorted({len(stem) for stem in self._stems})

    def _add(self, name: str, pattern: str) -> None:
        if len(pattern) > LONGEST:
            raise BadInput(f"is longer than {LONGEST} characters")
        parts = PARTS.findall(pattern)
        for part in parts:
            if part not in "()|" and not ATOM.fullmatch(part):
                raise BadInput(f"holds {part!r}, which is no word")
            if part.startswith("<") and part not in self._known:
                raise BadInput(f"names a class that is not there: {part}")
            if part.endswith("*"):
                self._stems.add(part[:-1])
        if GAP in (*parts[:1], *parts[-1:]):
            raise BadInput("begins or ends with a gap")
        branches, rest = parsed(parts)
        if rest:
            raise BadInput("has a bracket that does not match")
        for node in grown([self._root], branches):
            if node is self._root:
                raise BadInput("may match nothing")
            node.names.add(name)

    def find(self, words: Sequence[str]) -> list[Found]:
        """Every occurrence, also those within others."""
        symbols = [self._symbols(word) for word in words]
        return [
            Found(name, start, end)
            for start in range(len(words))
            for name, end in self._from(symbols, start)
        ]

    def table(self) -> dict[str, Any]:
        """The graph as lists, node 0 being the root: for readers in other languages."""
        nodes, numbers = [self._root], {id(self._root): 0}
        for node in nodes:  # grows while it is walked
            for target in (target for targets in node.edges.values() for target in targets):
                if id(target) not in numbers:
                    numbers[id(target)] = len(nodes)
                    nodes.append(target)
        edges = [
            {atom: [numbers[id(target)] for target in targets] for atom, targets in n.edges.items()}
            for n in nodes
        ]
        names = {number: sorted(node.names) for number, node in enumerate(nodes) if node.names}
        return {
            "edges": edges,
            "names": names,
            "classes": self._classes,
            "stems": sorted(self._stems),
        }

    def _symbols(self, word: str) -> list[str]:
        stems = [f"{word[:n]}*" for n in self._sizes if n <= len(word) and word[:n] in self._stems]
        return [word, *self._classes.get(word, ()), *stems]

    def _from(self, symbols: Sequence[Sequence[str]], start: int) -> Iterator[tuple[str, int]]:
        waiting = [(self._root, start)]
        seen = set()
        while waiting:
            node, at = waiting.pop()
            if (id(node), at) in seen:
                continue
            seen.add((id(node), at))
            for name in node.names:
                yield name, at
            if at < len(symbols):
                for symbol in symbols[at]:
                    waiting += [(target, at + 1) for target in node.edges.get(symbol, ())]
            for target in node.edges.get(GAP, ()):
                waiting += [(target, place) for place in places(symbols, at)]


def places(symbols: Sequence[Sequence[str]], at: int) -> Iterator[int]:
    """Where a gap that begins at `at` may end: within the sentence."""
    for place in range(at, min(at + GAP_WORDS, len(symbols)) + 1):
        yield place
        if place < len(symbols) and symbols[place][0] == STOP:
            return


# A branch is a sequence of atoms and of alternatives, which are lists of branches.
Branch = list["str | list[Branch]"]


def parsed(parts: list[str], depth: int = 0) -> tuple[list[Branch], list[str]]:
    """The branches up to a closing bracket or the end, and the parts from there."""
    if depth > DEEPEST:
        raise BadInput(f"is nested deeper than {DEEPEST}")
    branches: list[Branch] = [[]]
    while parts and parts[0] != ")":
        part, parts = parts[0], parts[1:]
        if part == "|":
            branches.append([])
        elif part == "(":
            inner, parts = parsed(parts, depth + 1)
            if not parts:
                raise BadInput("has a bracket that does not match")
            parts = parts[1:]
            branches[-1].append(inner)
        else:
            branches[-1].append(part)
    return branches, parts


def grown(sources: list[Node], branches: list[Branch]) -> list[Node]:
    """Where one stands after any of the branches; they meet in one node, to stay few."""
    meeting = Node()
    targets: list[Node] = []
    for branch in branches:
        ends = sources
        elements = spelled(branch)
        for place, element in enumerate(elements):
            if isinstance(element, list):
                ends = grown(ends, element)
                continue
            target = meeting if place == len(elements) - 1 else Node()
            for node in ends:
                node.lead(element, target)
            ends = [target]
        targets += [node for node in ends if node not in targets]
    return targets


def spelled(branch: Branch) -> Branch:
    """A branch with its plain words contracted as those of messages are."""
    made: Branch = []
    run: list[str] = []
    for element in [*branch, None]:
        if isinstance(element, str):
            run.append(element)
            continue
        made += contracted(run)
        run = []
        if element is not None:
            made.append(element)
    return made
