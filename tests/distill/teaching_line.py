"""The teaching commands, a small data folder, and an endpoint that is watched."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import MappingProxyType
from unittest.mock import patch

import pytest

from distill.cli import COMMANDS
from distill.core.command import main
from distill.core.jsonl import read_jsonl, write_json, write_jsonl
from distill.core.records import Dialogue, Privileged, Response, Turn
from tests.distill.raw_corpora import story

ROOT = Path(__file__).parents[2]


def argv(*words: object) -> list[str]:
    return [sys.executable, "-m", "distill", *map(str, words)]


def environment() -> dict[str, str]:
    """No key and no endpoint of the person who runs the tests."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("OPENAI_", "GEMINI_"))}


def process(*words: object) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, as a person starts it."""
    return subprocess.run(argv(*words), capture_output=True, text=True, cwd=ROOT, env=environment())


def run(*words: object) -> subprocess.CompletedProcess[str]:
    """The same in this process, which spares the start: `test_*_in_a_process` shows they agree."""
    line = ["distill", *map(str, words)]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", line),
        patch.dict(os.environ, environment(), clear=True),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main("distill", "", COMMANDS)
    return subprocess.CompletedProcess(
        line, int(ended.value.code or 0), out.getvalue(), err.getvalue()
    )


def outcome(*words: object, exit_code: int = 0) -> dict:
    done = run(*words, "--json")
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout)


def refusal(*words: object) -> str:
    done = run(*words)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def dialogue(number: int, split: str = "train", text: str | None = None) -> Dialogue:
    turns = [Turn(role="user", content=text or story(number))]
    return Dialogue(id=f"d{number}", source="messages", turns=turns, split=split)


def human(number: int, rating: int | None = None) -> Response:
    name = f"d{number}"
    text = f"Oh, that is a pity{number}."
    return Response(id=f"{name}/human", dialogue_id=name, text=text, author="human", rating=rating)


def data_folder(
    folder: Path,
    dialogues: Sequence[Dialogue],
    responses: Sequence[Response] = (),
    fields: Mapping[str, dict[str, str]] = MappingProxyType({}),
) -> Path:
    folder.mkdir(parents=True)
    write_jsonl(folder / "dialogues.jsonl", dialogues)
    write_jsonl(folder / "responses.jsonl", responses)
    privileged = [Privileged(dialogue_id=name, fields=known) for name, known in fields.items()]
    write_jsonl(folder / "privileged.jsonl", privileged)
    write_json(folder / "gather.json", {"corpora": []})
    return folder


def responses_in(folder: Path) -> list[Response]:
    return read_jsonl(folder / "responses.jsonl", Response)


def prompts_of(requests: list[dict]) -> list[str]:
    """What an endpoint was asked, as one text a request."""
    return ["\n".join(message["content"] for message in one["messages"]) for one in requests]
