"""Timing a file in a browser: `distill eval latency --browser`."""

import signal
import subprocess
import sys
import time

import psutil
import pytest

from distill.core.errors import MissingExtra, MissingInput, Unavailable
from distill.core.records import Dialogue, Turn
from eval import browser
from eval.browser import browser_tables, in_browser, page_of, renderers, slowed
from tests.demo.chromium import needs_chromium

SAID = [Dialogue(id="1", source="x", split="test", turns=[Turn(role="user", content="Hello.")])]


@needs_chromium
def test_a_class_has_every_figure_and_a_slower_one_says_how_much_slower(tiny_gguf):
    usual, slower = in_browser(tiny_gguf, SAID, 4, rates=(2, 1))
    assert (usual["device"], slower["device"]) == ("this machine", "2 times slower")
    assert usual["slowed_times"] == 1.0
    assert slower["slowed_times"] > 0, "how much, only an idle machine can promise"
    for row in (usual, slower):
        assert row["first_visit_to_first_token_s"] > row["first_token_s"] > 0
        assert row["first_visit_processor_s"] > 0.05
        assert row["second_visit_to_first_token_s"] > 0 and row["tokens_per_s"] > 0
        assert row["memory_bytes"] > tiny_gguf.stat().st_size
        assert row["download_bytes"] > tiny_gguf.stat().st_size
        assert row["prompts"] == row["threads"] == 1 and row["browser"].startswith("Chromium ")
    [table] = browser_tables([usual, slower])
    assert table.row_count == 2 and browser_tables([]) == []


def test_pages_are_stopped_and_continued_and_left_running():
    code = "import time; time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, "--type=renderer"]) as page:
        try:
            assert page.pid in renderers()
            seen = set()
            deadline = time.monotonic() + 20
            with slowed(6):
                while psutil.STATUS_STOPPED not in seen and time.monotonic() < deadline:
                    seen.add(psutil.Process(page.pid).status())
            assert psutil.STATUS_STOPPED in seen
            assert psutil.Process(page.pid).status() != psutil.STATUS_STOPPED
        finally:
            page.kill()


def test_a_page_that_does_not_start_says_why(tmp_path):
    with (
        pytest.raises(Unavailable, match="a folder with no ONNX student in it"),
        page_of(tmp_path, tmp_path / "out"),
    ):
        raise AssertionError("it started")


def test_what_is_missing_is_said(tiny_gguf, monkeypatch):
    with monkeypatch.context() as none:
        none.setattr(browser, "find_spec", lambda name: None)
        with pytest.raises(MissingExtra, match="pip install playwright"):
            in_browser(tiny_gguf, SAID, 4)
    with monkeypatch.context() as none:
        none.setattr(browser, "installed_browser", lambda: None)
        with pytest.raises(MissingInput, match="apt-get install chromium"):
            browser.chromium()
    monkeypatch.delattr(signal, "SIGSTOP")
    with pytest.raises(Unavailable, match="leave --browser out"):
        in_browser(tiny_gguf, SAID, 4)
