"""How fast a file answers in a browser, by phone classes: `distill eval latency FILE --browser`.

In: an exported .gguf and dialogues, of which the first few lend what was said last. Out: a row for
each class: seconds to the first token, from the opening of the page (first and second visit) and
from Send, tokens per second, with one thread, and the processor seconds of the first visit.
A class is this machine, slowed: Chromium's own throttling spares the workers in which the model
runs, so the page's processes are stopped and continued in turn, and a busy loop in a worker tells
by how much that slowed them. Refused: a machine without Chromium (MissingInput) or without POSIX
signals (Unavailable), without Playwright (MissingExtra), and a page that does not open
(Unavailable).
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from socket import create_connection, socket
from typing import Any

from rich.table import Table

from distill.core.errors import MissingExtra, MissingInput, Unavailable
from distill.core.machine import BROWSER_WORDS, installed_browser
from distill.core.records import Dialogue
from eval.pages.wording import rate, seconds

RATES = (1, 4, 6)
PROMPTS = 5  # a phone's speed varies little between them, and slow classes take long
PHONE = {"viewport": {"width": 390, "height": 844}}
SLICE_S, LOOK_S = 0.02, 0.5  # how long a turn takes; how often new pages are looked for
START_S = 120.0
READY_MS = 180_000
BUSY = """async () => {
  const code = "let x = 0; const t = performance.now(); for (let i = 0; i < 2e8; i++) x += i % 7;" +
    "postMessage(performance.now() - t)";
  const worker = new Worker(URL.createObjectURL(new Blob([code])));
  const found = await new Promise((done) => (worker.onmessage = ({ data }) => done(data)));
  worker.terminate();
  return found;
}"""


def chromium() -> str:
    """The system's own: Playwright's would be a download."""
    if found := installed_browser():
        return found
    raise MissingInput("no Chromium is installed; install one, on Debian: apt-get install chromium")


def in_browser(
    file: Path, dialogues: Sequence[Dialogue], max_tokens: int, rates: Sequence[int] = RATES
) -> list[dict[str, Any]]:
    """Build the page of a file, serve it on loopback, and time it: one flat row for each class."""
    if not hasattr(signal, "SIGSTOP"):
        raise Unavailable("this system cannot slow a browser down; leave --browser out")
    if find_spec("playwright") is None:
        raise MissingExtra("playwright is not installed; install it: pip install playwright")
    from playwright.sync_api import sync_playwright

    program = chromium()
    with (
        tempfile.TemporaryDirectory() as near,
        page_of(file, Path(near) / "pocket") as url,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=program, args=BROWSER_WORDS)
        rows = [
            timed(browser, url, rate, dialogues[:PROMPTS], max_tokens) for rate in sorted(rates)
        ]
        named = f"Chromium {browser.version}"
        browser.close()
        files = [path for path in (Path(near) / "pocket").rglob("*") if path.is_file()]
        download = sum(path.stat().st_size for path in files)
    usual = rows[0].pop("busy_ms")
    rows[0]["slowed_times"] = 1.0
    for row in rows[1:]:
        row["slowed_times"] = round(row.pop("busy_ms") / usual, 1)
    return [{**row, "download_bytes": download, "browser": named} for row in rows]


def browser_tables(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """The rows for a terminal; none where the browser was not asked for."""
    if not rows:
        return []
    columns = (
        "device",
        "first visit",
        "its processor time",
        "second visit",
        "from Send",
        "tokens/s",
        "really slowed",
    )
    shown = Table(*columns, title=f"{rows[0]['browser']}, to the first token, one thread")
    for row in rows:
        shown.add_row(
            row["device"],
            seconds(row["first_visit_to_first_token_s"]),
            seconds(row["first_visit_processor_s"]),
            seconds(row["second_visit_to_first_token_s"]),
            seconds(row["first_token_s"]),
            rate(row["tokens_per_s"]),
            f"{row['slowed_times']:.1f} times",
        )
    return [shown]


@contextmanager
def page_of(file: Path, folder: Path) -> Iterator[str]:
    """The address at which `distill demo pocket` serves a file."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "demo", "pocket", str(file), "--out", str(folder), "--serve"]
    with subprocess.Popen(
        [*argv, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_for(process, port)
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


def wait_for(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)
    process.terminate()
    said = (process.communicate()[1] or "").strip().splitlines() or ["it said nothing"]
    raise Unavailable(f"the page did not start: {said[-1].removeprefix('error: ')}")


def timed(
    browser: Any, url: str, rate: int, dialogues: Sequence[Dialogue], max_tokens: int
) -> dict[str, Any]:
    """One class in a fresh profile: first visit, second visit, then every prompt."""
    context = browser.new_context(**PHONE)
    page = context.new_page()
    before, taken = processor_times(), []
    with slowed(rate):
        visits = []
        for _ in range(2):
            page.goto(url)
            ready(page)
            visits.append(asked(page, "Hello. I would like to talk for a while.", 1))
            taken.append(taken_since(before))
            page.locator("#facts:text('without a network')").wait_for(
                state="attached", timeout=READY_MS
            )
        busy_ms = statistics.median(page.evaluate(BUSY) for _ in range(3))
        replies = [asked(page, said_last(dialogue), max_tokens) for dialogue in dialogues]
        memory = page.locator("#facts").get_attribute("data-memory-bytes")
    context.close()
    return {
        "device": "this machine" if rate == 1 else f"{rate} times slower",
        "first_visit_to_first_token_s": median(visits[:1], "firstTokenAtMs", 1000),
        "second_visit_to_first_token_s": median(visits[1:], "firstTokenAtMs", 1000),
        "first_visit_processor_s": taken[0],
        "first_token_s": median(replies, "firstTokenMs", 1000),
        "tokens_per_s": median(replies, "tokensPerS"),
        "memory_bytes": int(float(memory or 0)),
        "prompts": len(replies),
        "threads": 1,
        "busy_ms": busy_ms,
    }


def median(replies: Sequence[Mapping[str, float | None]], name: str, of: int = 1) -> float | None:
    """A reply without a token has no first one; where none has one, there is no figure."""
    found = [value / of for reply in replies if (value := reply[name]) is not None]
    return statistics.median(found) if found else None


def said_last(dialogue: Dialogue) -> str:
    return dialogue.messages()[-1]["content"]


def ready(page: Any) -> None:
    page.locator("body[data-state]").wait_for(timeout=READY_MS)
    if page.locator("body").get_attribute("data-state") != "ready":
        raise Unavailable(f"the page does not open the file: {page.inner_text('#notice')}")


def asked(page: Any, text: str, max_tokens: int) -> dict[str, float | None]:
    """Say something in a new chat, as a person does, and read the figures under the reply."""
    page.click("#new")
    page.evaluate("(n) => (document.getElementById('longest').value = n)", max_tokens)
    page.evaluate("() => (document.getElementById('temperature').value = 0)")
    page.fill("#said", text)
    page.press("#said", "Enter")
    figures = page.locator(".figures")
    figures.wait_for(timeout=READY_MS)
    told = figures.evaluate("(element) => ({ ...element.dataset })")
    names = ("firstTokenMs", "firstTokenAtMs", "tokensPerS")
    return {name: None if told[name] == "null" else float(told[name]) for name in names}


@contextmanager
def slowed(rate: int) -> Iterator[None]:
    """Let the pages of browsers that we started run one part of `rate` of the time."""
    if rate == 1:
        yield
        return
    ending = threading.Event()
    thread = threading.Thread(target=stop_and_go, args=(rate, ending), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def stop_and_go(rate: int, ending: threading.Event) -> None:
    """For each time that the pages ran, they stand `rate - 1` times as long.

    Waits end late, and the search for new pages takes a while: time stood too long is made good.
    """
    pages: list[int] = []
    looked = began = time.monotonic()
    owed_s = 0.0
    while not ending.wait(SLICE_S / rate):
        send(pages, signal.SIGSTOP)
        stopped = time.monotonic()
        owed_s += (stopped - began) * (rate - 1)
        if not pages or stopped - looked > LOOK_S:
            pages, looked = renderers(), stopped
            send(pages, signal.SIGSTOP)
        time.sleep(max(0.0, owed_s - (time.monotonic() - stopped)))
        send(pages, signal.SIGCONT)
        began = time.monotonic()
        owed_s -= began - stopped
    send(pages, signal.SIGCONT)


def renderers() -> list[int]:
    """Processes that show pages, among those that this one started."""
    import psutil

    found = []
    for child in psutil.Process().children(recursive=True):
        try:
            if any("--type=renderer" in word for word in child.cmdline()):
                found.append(child.pid)
        except psutil.Error:
            continue
    return found


def processor_times() -> dict[int, float]:
    """Processor seconds that each page has taken: what a busy machine does not stretch."""
    import psutil

    found = {}
    for pid in renderers():
        try:
            found[pid] = sum(psutil.Process(pid).cpu_times()[:2])
        except psutil.Error:
            continue
    return found


def taken_since(before: Mapping[int, float]) -> float:
    return sum(taken - before.get(pid, 0.0) for pid, taken in processor_times().items())


def send(pids: Sequence[int], what: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, what)
        except ProcessLookupError:
            continue
