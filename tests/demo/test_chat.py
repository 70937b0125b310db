"""The chat page: real page, real runtime, one file."""

import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from socket import create_connection, socket

import pytest


def free_port():
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def page(artifact):
    port = free_port()
    argv = [sys.executable, "-m", "demo", "chat", str(artifact), "--port", str(port)]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            deadline = time.monotonic() + 120
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    create_connection(("127.0.0.1", port), timeout=0.2).close()
                    break
                except OSError:
                    continue
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_page_opens_and_streams_a_reply(tiny_gguf):
    from gradio_client import Client

    with page(tiny_gguf) as url:
        html = urllib.request.urlopen(url).read().decode()
        assert "Kindred" in html
        reply = Client(url).predict("I lost my job today.", api_name="/chat")
    assert reply


def test_a_missing_file_is_one_line(tmp_path):
    argv = [sys.executable, "-m", "demo", "chat", str(tmp_path / "none.gguf")]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and "does not exist" in done.stderr
