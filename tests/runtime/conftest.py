"""One server for every test that only asks it things."""

from pathlib import Path

import openai
import pytest

from tests.runtime.serving import Serving


@pytest.fixture(scope="session")
def serving(tiny_gguf: Path, tmp_path_factory: pytest.TempPathFactory):
    log = tmp_path_factory.mktemp("serving") / "log"
    with Serving(tiny_gguf, log, "--context", "128") as server:
        yield server
    assert log.read_text().splitlines() == [
        "tiny-F16: 128 tokens of context; Ctrl-C stops the server"
    ]


@pytest.fixture(scope="module")
def client(serving: Serving):
    """OpenAI's own client of that server."""
    with openai.OpenAI(base_url=serving.url, api_key="none", max_retries=0, timeout=60) as made:
        yield made
