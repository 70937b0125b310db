"""A page in a process of its own, and a look at it with a browser."""

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SHOTS = os.environ.get("KINDRED_SCREENSHOTS")


@contextmanager
def started(argv, home: Path):
    """Run a command that prints its address; all that it may write to is under `home`."""
    folders = {name: str(home / name.lower()) for name in ("HOME", "TMPDIR", "GRADIO_TEMP_DIR")}
    for folder in folders.values():
        Path(folder).mkdir(parents=True, exist_ok=True)
    with (
        (home / "remarks").open("w") as remarks,
        subprocess.Popen(
            [sys.executable, "-m", *map(str, argv)],
            stdout=subprocess.PIPE,
            stderr=remarks,
            text=True,
            env=os.environ | folders | {"OMP_NUM_THREADS": "1"},
        ) as process,
    ):
        try:
            line = process.stdout.readline()
            assert line, (home / "remarks").read_text()
            yield json.loads(line), process
        finally:
            process.terminate()


@contextmanager
def visited(browser, url, *, size=DESK, scheme="light", locale="en-US"):
    """A page in a fresh profile; `asked` holds the addresses that it asked for."""
    context = browser.new_context(viewport=size, color_scheme=scheme, locale=locale)
    page = context.new_page()
    page.asked = []
    context.on("request", lambda request: page.asked.append(request.url))
    page.goto(url)
    page.get_by_label("Your message").wait_for(timeout=60_000)
    yield page
    context.close()


def ask(page, text):
    page.get_by_label("Your message").fill(text)
    page.get_by_role("button", name="Send").click()


def shoot(page, name, folder):
    """Keep a picture, where KINDRED_SCREENSHOTS says or with the test's own files."""
    page.screenshot(path=Path(SHOTS or folder) / f"{name}.png")


def findings(page):
    """What axe finds that is serious or worse, by rule."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return {
        one["id"]: one["nodes"][0]["html"]
        for one in found
        if one["impact"] in ("serious", "critical")
    }


def elsewhere(page):
    """The addresses that are not the page's own; data and blobs are inside it."""
    own = page.url.rstrip("/")
    return [url for url in page.asked if not url.startswith((own, "data:", "blob:"))]


def active(server: str) -> int:
    """Replies that a server is writing, by its own metrics."""
    text = httpx.get(f"{server.removesuffix('/v1')}/metrics", trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("kindred_active_requests ")]
    return int(float(lines[0].split()[1]))


def seconds_until(condition, at_most_s=30.0):
    """How long it took until a condition held; as much as allowed where it never did."""
    begun = time.perf_counter()
    while not condition() and time.perf_counter() - begun < at_most_s:
        time.sleep(0.005)
    return time.perf_counter() - begun
