"""A page as one HTML file that needs nothing else.

In: a `Page`. Out: HTML with its style and plots inside; every text is escaped by the template.
"""

import re
from importlib import resources

from eval.pages.page import Page, Table
from eval.pages.wording import NOT_MEASURED, NOT_RECORDED

UNITS = re.compile(
    r"(?<=\d) (?=(?:%|ms|s|kB|MB|GB|bits|bytes|tokens/s|words|pairs?)(?!\w))"
    r"|(?<=[≤≥<>=]) (?=\d)|(?<=\bp) (?=[<=])|(?<=[\d%]) (?=to [+-]?\d)|(?<= to) (?=[+-]?\d)"
)
NO_BREAK = "\u00a0"
NUMBER = re.compile(
    r"\d[\d,]*(?:\.\d+)?(?:e-\d+)?(?: to \d+)?(?: (?:%|ms|s|kB|MB|GB|words|tokens/s))?"
)
UNFILLED = ("", NOT_MEASURED, NOT_RECORDED)
DIGEST = re.compile("[0-9a-f]{64}")


def html(page: Page) -> str:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bound"] = bound
    environment.tests["digest"] = DIGEST.fullmatch
    environment.filters["numeric_columns"] = numeric_columns
    source = resources.files("eval").joinpath("report.html.jinja").read_text("utf-8")
    return environment.from_string(source).render(page=page)


def bound(text: str) -> str:
    """Keep a number and its unit on one line."""
    return UNITS.sub(NO_BREAK, text)


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers alone, and are set flush right."""
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.columns)
    filled = [[cell for cell in column if cell not in UNFILLED] for column in columns]
    return [bool(cells) and all(map(NUMBER.fullmatch, cells)) for cells in filled]
