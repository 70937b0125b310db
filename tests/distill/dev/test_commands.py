"""The stand-ins as commands."""

import json
import signal
import subprocess
import sys
import urllib.request

import pytest


@pytest.mark.parametrize("name", ["fake-openai", "fake-gemini"])
def test_a_stand_in_tells_where_it_is_and_ends_on_a_signal(name):
    argv = [sys.executable, "-m", "distill.dev", name, "--json", "--fail-429", "0.1"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        found = json.loads(process.stdout.readline())
        root = found["base_url"].removesuffix("/v1")
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(f"{root}/counts") as answer:
            assert json.load(answer)["answered"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("name", ["fake-openai", "fake-gemini"])
def test_a_rate_that_is_none_is_one_line(name):
    argv = [sys.executable, "-m", "distill.dev", name, "--drop", "2"]
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: drop is 2.0; a rate lies between 0 and 1\n"
