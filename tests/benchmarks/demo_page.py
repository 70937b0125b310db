"""What a person waits for on the page of `distill demo`, in headless Chromium.

In: an exported file. Out: medians of: from the command to a usable page, from Send to the first
word on the screen, from Stop to a free slot; and requests to other origins, axe's serious
findings. Stop is pressed on a page of its own, on a scratch model of random weights that is slow
enough to be stopped. `--shots FOLDER` keeps pictures at both sizes, light and dark.

python -m tests.benchmarks.demo_page FILE [--repeats 5] [--shots FOLDER] [--json]
"""

import json as json_format
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tests.demo.chromium import MISSING, browser
from tests.demo.pages import (
    DESK,
    PHONE,
    active,
    ask,
    elsewhere,
    findings,
    seconds_until,
    started,
    visited,
)
from tests.models import tiny_checkpoint

MESSAGE = "My best friend moved away last week."
LOOKS = {"desk": (DESK, "light"), "desk-dark": (DESK, "dark"), "phone": (PHONE, "light")}
WATCH = """() => {
  window.firstWord = null;
  const bubbles = () => [...document.querySelectorAll(".board .bot:not(.pending)")];
  const replies = () => bubbles().map(bubble => bubble.innerText).join("");
  const before = replies();
  new MutationObserver(() => {
    if (window.firstWord === null && replies().length > before.length)
      window.firstWord = performance.now();
  }).observe(document.body, { subtree: true, childList: true, characterData: true });
  const press = () => { window.pressed = performance.now(); };
  [...document.querySelectorAll("button")].filter(b => b.innerText.trim() === "Send")
    .forEach(b => b.addEventListener("pointerdown", press, { capture: true }));
}"""


def slow_file(folder: Path) -> Path:
    """A random model of some 40 M weights: slow enough to be stopped, and no use otherwise."""
    from export.checkpoint import open_checkpoint
    from export.f16 import write_f16

    checkpoint = tiny_checkpoint(folder / "slow", hidden=1024, layers=4)
    write_f16(open_checkpoint(checkpoint), folder / "slow-F16.gguf")
    return folder / "slow-F16.gguf"


def opening(opened: Any, argv: list[Any], home: Path) -> float:
    """Seconds from the command to a page in which one can type."""
    begun = time.perf_counter()
    with started(argv, home) as (found, _), visited(opened, found["url"]):
        return time.perf_counter() - begun


def first_word(page: Any) -> float:
    """Milliseconds from pressing Send to the first letter of the reply, by the page's own clock."""
    start_anew(page)
    page.evaluate(WATCH)
    ask(page, MESSAGE)
    page.wait_for_function("window.firstWord !== null", timeout=60_000)
    settle(page)
    return float(page.evaluate("window.firstWord - window.pressed"))


def start_anew(page: Any) -> None:
    """An empty chat, whose line of figures is empty too."""
    page.get_by_role("button", name="New chat").click()
    page.get_by_text("begin with one of these").wait_for(timeout=60_000)
    page.get_by_text("memory").first.wait_for(state="hidden", timeout=60_000)


def settle(page: Any) -> None:
    """Wait for the figures that follow a reply."""
    page.get_by_text("memory").first.wait_for(timeout=60_000)


def stopping(page: Any, server: str) -> float | None:
    """Seconds from pressing Stop to a free slot; None where the reply had ended by itself."""
    start_anew(page)
    ask(page, MESSAGE)
    page.locator(".board .bot:not(.pending)").first.wait_for(timeout=60_000)
    if active(server) == 0:
        settle(page)
        return None
    page.get_by_role("button", name="Stop").click()
    found = seconds_until(lambda: active(server) == 0)
    settle(page)
    return found


def look(opened: Any, url: str, shots: Path | None) -> dict[str, Any]:
    """Every tab at every size: what axe finds, and what was asked of other origins."""
    serious: dict[str, str] = {}
    others: list[str] = []
    for name, (size, scheme) in LOOKS.items():
        with visited(opened, url, size=size, scheme=scheme) as page:
            ask(page, MESSAGE)
            settle(page)
            for tab in ("Chat", "Compare", "Inside"):
                page.get_by_role("tab", name=tab).click()
                if tab == "Compare":
                    compare(page)
                serious |= findings(page)
                if shots:
                    page.screenshot(path=shots / f"{tab.lower()}-{name}.png")
            others += elsewhere(page)
    return {"serious_findings": serious, "requests_elsewhere": others}


def compare(page: Any) -> None:
    """One blind round with a vote, where two files are open."""
    if page.get_by_label("Message to both").count():
        page.get_by_label("Message to both").fill(MESSAGE)
        page.get_by_role("button", name="Ask both").click()
        page.get_by_text("Which reply would you rather get?").wait_for(timeout=60_000)
        page.get_by_role("button", name="Left", exact=True).click()
        page.get_by_text("You voted").wait_for(timeout=60_000)


def main(
    file: Annotated[Path, typer.Argument(help="An exported file.")],
    repeats: Annotated[int, typer.Option(help="Of each wait.")] = 5,
    shots: Annotated[Path | None, typer.Option(help="Folder of pictures.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure the page."""
    if MISSING:
        raise typer.BadParameter(MISSING)
    if shots:
        shots.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, browser() as opened:
        home = Path(scratch)
        argv = ["distill", "demo", "chat", file, "--port", 0, "--json", "--votes", home / "votes"]
        load = os.getloadavg()[0]
        openings = [opening(opened, argv, home) for _ in range(repeats)]
        with started(argv, home) as (found, _):
            with visited(opened, found["url"]) as page:
                words = [first_word(page) for _ in range(repeats + 1)][1:]
            seen = look(opened, found["url"], shots)
        argv[3] = slow_file(home)
        with started(argv, home) as (found, _), visited(opened, found["url"]) as page:
            stops = [stopping(page, found["servers"][0]) for _ in range(repeats)]
    waits = {"usable_s": openings, "first_word_ms": words, "free_slot_s": stops}
    figures = {
        name: [value for value in values if value is not None] for name, values in waits.items()
    }
    result = {
        **{name: round(statistics.median(values), 3) for name, values in figures.items() if values},
        **{f"{name}_worst": round(max(values), 3) for name, values in figures.items() if values},
        "stops": len(figures["free_slot_s"]),
        **seen,
        "load_before": round(load, 1),
        "load_after": round(os.getloadavg()[0], 1),
    }
    typer.echo(json_format.dumps(result, indent=None if json else 1))


if __name__ == "__main__":
    typer.run(main)
