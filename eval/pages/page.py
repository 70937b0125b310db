"""What a report holds before it is HTML or Markdown: sections of figures, tables and plots."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from distill.core.records import Turn


@dataclass(frozen=True)
class Headline:
    """A figure that decides something, and what it is."""

    value: str
    label: str


@dataclass(frozen=True)
class Table:
    """Rows of text; the first cell of a row names it."""

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


@dataclass(frozen=True)
class Figure:
    """A plot as SVG text or PNG in base64; `description` says what a reader would see in it."""

    title: str
    description: str
    kind: Literal["svg", "png"]
    content: str


@dataclass(frozen=True)
class Reply:
    """What one candidate said."""

    candidate: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Sample:
    """One dialogue with the replies to it, how the judge decided, and what it said."""

    dialogue_id: str
    turns: list[Turn]
    replies: list[Reply]
    verdict: str
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """One part of the page; `beside` stands right beside the headlines, `absent` in their place."""

    slug: str
    title: str
    headlines: list[Headline] = field(default_factory=list)
    beside: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    absent: str | None = None


@dataclass(frozen=True)
class Page:
    """The whole report of one file."""

    name: str
    sha256: str | None
    summary: str
    sections: list[Section]
