"""The guard in a real server and in the terminal, as clients and people see it."""

import json
import subprocess
import sys

import openai
import pytest

from runtime import load
from runtime.engine import Engine
from runtime.guard import Guard
from runtime.guarding.switch import OFF
from runtime.terminal import WROTE, Conversation, Options
from tests.runtime.scripted import ScriptedBackend
from tests.runtime.serving import Serving
from tests.runtime.test_serve import refused

MODEL = "tiny-F16"
CRISIS = [{"role": "user", "content": "I want to die"}]
CALM = [{"role": "user", "content": "I lost my job today."}]
BLOCK = Guard(locale="en-US").check(CRISIS[0]["content"]).block
ASKED = {"model": MODEL, "temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="module")
def american(tiny_gguf, tmp_path_factory):
    log = tmp_path_factory.mktemp("guarded") / "log"
    with Serving(tiny_gguf, log, "--context", "256", "--guard-locale", "en-US") as server:
        yield server
    assert "die" not in log.read_text() and len(log.read_text().splitlines()) == 1


@pytest.fixture(scope="module")
def client(american):
    with openai.OpenAI(base_url=american.url, api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def own_text(tiny_gguf):
    """What the model itself says to the crisis message."""
    with load(tiny_gguf, context=256, threads=1) as engine:
        return "".join(p.text for p in engine.chat(CRISIS, temperature=0, max_tokens=12))


def test_the_block_stands_before_the_models_text_and_the_response_says_so(client, own_text):
    made = client.chat.completions.create(messages=CRISIS, **ASKED)
    assert made.choices[0].message.content == BLOCK + own_text
    assert made.choices[0].finish_reason == "length"
    assert made.usage.completion_tokens == 12
    told = made.model_extra["kindred"]["guard"]
    assert (told["fired"], told["entry"], told["locale"]) == (True, "self", "en-US")
    assert (told["message"], told["shown"]) == (0, True)
    assert any("988" in resource["text"] for resource in told["resources"])


def test_a_stream_shows_the_block_first(client, own_text):
    chunks = list(client.chat.completions.create(messages=CRISIS, stream=True, **ASKED))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[0].model_extra["kindred"]["guard"]["fired"]
    assert chunks[-1].model_extra["kindred"]["guard"]["fired"]
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert deltas[:2] == ["", BLOCK] and "".join(deltas) == BLOCK + own_text
    assert chunks[-1].choices[0].finish_reason == "length"


def test_an_ordinary_message_is_answered_by_the_model_alone(client):
    made = client.chat.completions.create(messages=CALM, **ASKED)
    assert made.model_extra["kindred"] == {"guard": {"fired": False}}
    assert "988" not in made.choices[0].message.content
    chunks = list(client.chat.completions.create(messages=CALM, stream=True, **ASKED))
    assert chunks[0].model_extra["kindred"] == {"guard": {"fired": False}}


def test_the_model_never_reads_the_block_and_keeps_its_prefix(client, own_text):
    first = client.chat.completions.create(messages=CRISIS, **ASKED).choices[0].message
    following = [*CRISIS, first.model_dump(include={"role", "content"})]
    bare = [*CRISIS, {"role": "assistant", "content": own_text}]
    ask = {"role": "user", "content": "ok"}
    one, other = (
        client.chat.completions.create(messages=[*talk, ask], **ASKED) for talk in (following, bare)
    )
    assert one.usage.prompt_tokens == other.usage.prompt_tokens
    assert one.model_extra["kindred"]["guard"]["shown"] is False
    assert other.model_extra["kindred"]["guard"]["shown"] is True
    assert other.choices[0].message.content == BLOCK + one.choices[0].message.content


def test_what_is_refused_stays_an_error(client):
    with pytest.raises(openai.BadRequestError, match="the context holds 256"):
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "I want to die " * 200}]
        )


def test_off_is_said_aloud_and_then_nothing_is_added(tiny_gguf, tmp_path, own_text):
    log = tmp_path / "log"
    with Serving(tiny_gguf, log, "--context", "256", "--guard", "off") as server:
        answer = server.post({"messages": CRISIS} | ASKED).json()
    assert answer["choices"][0]["message"]["content"] == own_text
    assert "kindred" not in answer
    assert log.read_text().splitlines()[0] == OFF


@pytest.mark.parametrize("command", ["serve", "chat"])
def test_options_that_cannot_be_used_are_one_line(tiny_gguf, tmp_path, command):
    line = refused(command, tiny_gguf, "--guard-locale", "xx-YY")
    assert line.startswith("the guard knows no help lines for 'xx-YY'; choose one of default")
    broken = tmp_path / "policy.yaml"
    broken.write_text("version: 1\n")
    line = refused(command, tiny_gguf, "--guard-policy", broken)
    assert line.startswith("the guard policy policy.yaml: ")
    line = refused(command, tiny_gguf, "--guard-policy", tmp_path / "none.yaml")
    assert line.endswith("leave --guard-policy out to use the bundled policy")


def test_a_talk_in_the_terminal_shows_the_block_first_and_once(capsys):
    class Written(list):
        write = list.append

        def flush(self):
            """Everything is there at once."""

    engine = Engine("scripted", ScriptedBackend(b"Oh no."))
    talk = Conversation(engine, Options(50, 0.0, None), Written(), guard=Guard(locale="en-US"))
    talk.reply("I want to die")
    assert "".join(talk.out) == f"{BLOCK}Oh no.\n"
    assert capsys.readouterr().err.startswith(WROTE)
    talk.reply("ok")
    assert WROTE not in capsys.readouterr().err
    assert "".join(talk.out) == f"{BLOCK}Oh no.\nOh no.\n"
    assert BLOCK not in talk.engine.backend.text_of(talk.engine.backend.cached)


def test_the_terminal_chat_has_the_guard_unless_told(tiny_gguf):
    def out(*words):
        line = [sys.executable, "-m", "distill", "runtime", "chat", str(tiny_gguf), "--threads"]
        return subprocess.run(
            [*line, "1", "--json", "--max-tokens", "3", *words],
            input="I want to die\n",
            capture_output=True,
            text=True,
            timeout=60,
        )

    guarded, bare = out(), out("--guard", "off")
    told = json.loads(guarded.stdout)["messages"][-1]["content"]
    assert "findahelpline.com" in told and "findahelpline.com" in guarded.stderr
    assert "findahelpline.com" not in bare.stdout and bare.stderr.startswith(OFF)


def test_the_guard_needs_no_library_of_training():
    code = (
        "import sys, runtime.guard as g; g.check('I want to die'); "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")
