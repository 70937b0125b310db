"""A headless Chromium for tests: the system's own, since Playwright's would be a download."""

import os
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from distill.core.machine import BROWSER_WORDS, installed_browser

CHROMIUM = installed_browser()
MISSING = (
    "no Chromium is installed (Debian: apt-get install chromium)"
    if CHROMIUM is None
    else "Playwright is not installed (pip install playwright)"
    if find_spec("playwright") is None
    else None
)
needs_chromium = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")


@contextmanager
def browser():
    from playwright.sync_api import sync_playwright

    # Otherwise requests that a service worker makes are not told.
    os.environ.setdefault("PW_EXPERIMENTAL_SERVICE_WORKER_NETWORK_EVENTS", "1")

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=BROWSER_WORDS)
        try:
            yield opened
        finally:
            opened.close()
