"""`distill demo chat`: real files, real runtime, a real page; and its refusals."""

import shutil
import subprocess
import sys
from socket import create_server

import httpx
import psutil
import pytest

from tests.demo.chromium import browser, needs_chromium
from tests.demo.pages import PHONE, ask, elsewhere, findings, shoot, started, visited

SECRET = "the violet umbrella of Mrs Quill"
CRISIS = "I want to kill myself tonight."


@pytest.fixture(scope="module")
def opened(tiny_gguf, tmp_path_factory):
    """The page on two files, and the folder that holds all it may write."""
    home = tmp_path_factory.mktemp("demo")
    other = shutil.copy(tiny_gguf, home / "other-F16.gguf")
    argv = ["demo", "chat", tiny_gguf, other, "--port", "0", "--json", "--votes", home / "votes"]
    with started(argv, home) as (found, process):
        yield found, home, process
        servers = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        assert process.wait(20) == 0
        assert psutil.wait_procs(servers, timeout=10)[1] == []
    assert "Traceback" not in (home / "remarks").read_text()


def test_the_page_names_its_file_and_seals_itself_off(opened):
    found, _, _ = opened
    answer = httpx.get(found["url"], trust_env=False)
    assert "Kindred: tiny-F16" in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    strange = httpx.get(found["url"], headers={"Host": "kindred.example"}, trust_env=False)
    assert strange.status_code == 400
    assert httpx.get(f"{found['url']}/gradio_api/info", trust_env=False).json() == {
        "named_endpoints": {},
        "unnamed_endpoints": {},
    }


@needs_chromium
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_people_talk_and_nothing_of_it_is_kept_or_sent(opened, tmp_path):
    found, home, _ = opened
    with browser() as chromium, visited(chromium, found["url"], size=PHONE, locale="en-GB") as page:
        assert findings(page) == {}
        ask(page, f"We bought {SECRET} today.")
        page.get_by_text("tokens/s").first.wait_for(timeout=60_000)
        page.get_by_text("memory").first.wait_for(timeout=60_000)
        page.get_by_label("Your message").fill(CRISIS)
        page.keyboard.press("Enter")
        page.get_by_text("People who can help").last.wait_for(timeout=60_000)
        page.get_by_text("guard: the person may be").wait_for(timeout=60_000)
        page.get_by_text("help lines of en-GB").last.wait_for(timeout=60_000)
        page.get_by_role("button", name="Send").wait_for(timeout=60_000)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        folded = page.locator(".wrote").last
        folded.wait_for(timeout=60_000)
        assert folded.inner_text() == "What the model wrote"
        assert findings(page) == {}
        shoot(page, "chat-390", tmp_path)
        folded.locator("summary").press("Enter")
        assert folded.locator("div").is_visible() and folded.locator("div").inner_text()
        assert findings(page) == {}
        page.get_by_role("tab", name="Inside").click()
        page.get_by_text("manifest.json is not there").wait_for(timeout=60_000)
        assert findings(page) == {}
        shoot(page, "inside-390", tmp_path)
        assert elsewhere(page) == []
    kept = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".gguf"]
    assert not [path for path in kept if SECRET.encode() in path.read_bytes()]


def refused(*words, cwd):
    """The one line with which the command refuses."""
    argv = [sys.executable, "-m", "demo", "chat", *map(str, words)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 2
    assert done.stdout == ""
    return done.stderr


def test_a_missing_file_is_one_line(tmp_path):
    said = refused(tmp_path / "none.gguf", cwd=tmp_path)
    assert said.count("\n") == 1 and "does not exist" in said


def test_a_port_in_use_is_one_line_before_anything_is_started(tiny_gguf, tmp_path):
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tiny_gguf, "--port", port, cwd=tmp_path)
    assert said.startswith(f"error: port {port} on 127.0.0.1 is in use; choose another with --port")
    assert said.count("\n") == 1
    assert "less than or equal to 65535" in refused(tiny_gguf, "--port", 99999, cwd=tmp_path)


def test_a_file_where_votes_should_go_is_refused_before_anybody_votes(tiny_gguf, tmp_path):
    (tmp_path / "votes").write_text("")
    said = refused(tiny_gguf, "--votes", "votes", "--port", 0, cwd=tmp_path)
    assert said == "error: votes is a file; give --votes a folder\n"


def test_a_file_that_is_no_model_is_the_runtimes_refusal(tmp_path):
    (tmp_path / "note.gguf").write_text("not a model")
    said = refused(tmp_path / "note.gguf", "--port", 0, cwd=tmp_path)
    assert said.splitlines()[-1].startswith("error: the server did not start for")
    assert "is not a GGUF file" in said


def test_the_bare_command_opens_the_chat(tmp_path):
    argv = [sys.executable, "-m", "distill", "demo"]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2
    assert "no exported file lies under runs" in done.stderr
