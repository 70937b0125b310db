"""How the pages are built: `sphinx-build -W --keep-going docs build/docs`.

In: the Markdown pages beside this file, and the code, of which two pages are made. Out: a site that
needs no network. Refused: a page that no other leads to, a link that leads nowhere.
"""

import sys
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generated

project = "Kindred"
author = "The Kindred authors"
copyright = "The Kindred authors, Apache-2.0"
release = version = metadata.version("kindred-slm")

extensions = ["myst_parser"]
myst_heading_anchors = 3
exclude_patterns = ["README.md"]
html_theme = "furo"
html_title = f"Kindred {release}"
html_show_sphinx = False
html_copy_source = False


def setup(app):
    """Fill the two pages that are made of the code, each time that the site is built."""
    app.connect("env-get-outdated", lambda *_: list(generated.PAGES))
    app.connect("source-read", fill)


def fill(_, name, text):
    if name in generated.PAGES:
        text[0] = text[0].rstrip() + "\n\n" + generated.PAGES[name]()
