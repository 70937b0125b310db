"""A page as Markdown, for a pull request or a terminal: everything but the plots.

In: a `Page`. Out: Markdown in which no text of a dialogue can become markup.
"""

import re
from collections.abc import Iterator

from eval.pages.page import Page, Reply, Sample, Section, Table

SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&])")


def markdown(page: Page) -> str:
    return "\n".join([*head(page), *(line for s in page.sections for line in body(s))]) + "\n"


def escaped(text: str) -> str:
    return SPECIAL.sub(r"\\\1", " ".join(text.split()))


def head(page: Page) -> Iterator[str]:
    yield f"# {escaped(page.name)}"
    yield ""
    yield f"sha256 `{page.sha256 or 'not stated'}`"
    yield ""
    yield f"**{escaped(page.summary)}**"


def body(section: Section) -> Iterator[str]:
    yield from ("", f"## {section.title}")
    if section.absent:
        yield from ("", escaped(section.absent))
    for headline in section.headlines:
        yield from ("", f"**{escaped(headline.value)}** {escaped(headline.label)}")
    for said in section.beside:
        yield from ("", escaped(said))
    for figure in section.figures:
        yield from (
            "",
            f"*{escaped(figure.title)}* (plot in report.html). {escaped(figure.description)}",
        )
    for table in section.tables:
        yield from rows(table)
    for number, sample in enumerate(section.samples, 1):
        yield from dialogue(number, sample)


def rows(table: Table) -> Iterator[str]:
    yield from ("", f"### {escaped(table.caption)}", "")
    yield line(table.columns)
    yield line(["---"] * len(table.columns), verbatim=True)
    for row in table.rows:
        yield line(row)


def line(cells: tuple[str, ...] | list[str], *, verbatim: bool = False) -> str:
    shown = cells if verbatim else [escaped(cell) for cell in cells]
    return f"| {' | '.join(shown)} |"


def dialogue(number: int, sample: Sample) -> Iterator[str]:
    yield from ("", f"### {number}. {escaped(sample.dialogue_id)}")
    for turn in sample.turns:
        yield from ("", f"*{turn.role}:* {escaped(turn.content)}")
    for reply in sample.replies:
        yield from ("", quoted(reply))
    yield from ("", f"({escaped(sample.verdict)})")
    for note in sample.notes:
        yield from ("", f"- {escaped(note)}")


def quoted(reply: Reply) -> str:
    note = f" ({reply.note})" if reply.note else ""
    return f"> **{escaped(reply.candidate)}{escaped(note)}:** {escaped(reply.text) or '(empty)'}"
