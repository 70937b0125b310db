"""`distill runtime chat`: replies on standard output, everything else on standard error."""

import json
import re
import signal
import subprocess
import sys

import pytest

from distill.core.errors import BadInput
from runtime.engine import Engine
from runtime.terminal import Conversation, Options
from tests.runtime.scripted import ScriptedBackend

SPEED = re.compile(r"\[(\d+) tokens, \d+ tokens/s, first after \d+ ms(.*)\]")


def start(file, *words):
    line = [sys.executable, "-m", "distill", "runtime", "chat", str(file), "--threads", "1"]
    return subprocess.Popen(
        [*line, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def talk(file, text, *words):
    process = start(file, *words)
    out, err = process.communicate(text.encode(), timeout=60)
    return process.returncode, out.decode(), err.decode()


@pytest.fixture
def conversation():
    """A talk with a model that always says `Oh no.`, and what it wrote."""

    class Written(list):
        write = list.append

        def flush(self):
            """Everything is there at once."""

    engine = Engine("scripted", ScriptedBackend(b"Oh no."))
    return Conversation(engine, Options(50, 0.0, None), Written())


def test_a_talk_keeps_its_history_until_it_is_reset(conversation):
    conversation.reply("hi")
    conversation.reply("again")
    assert [m["content"] for m in conversation.messages()] == ["hi", "Oh no.", "again", "Oh no."]
    assert "".join(conversation.out) == "Oh no.\nOh no.\n"
    assert conversation.obey("/system Be kind.") and conversation.turns == []
    conversation.reply("hi")
    assert conversation.messages()[0] == {"role": "system", "content": "Be kind."}
    assert conversation.obey("/reset") and len(conversation.messages()) == 1
    assert conversation.obey("/system") and conversation.messages() == []
    assert not conversation.obey("/quit")


def test_an_unknown_command_is_no_message(conversation, capsys):
    assert conversation.obey("/bogus") and conversation.messages() == []
    assert "there is no command /bogus" in capsys.readouterr().err


def test_a_talk_that_has_grown_too_long_says_how_to_go_on(conversation, capsys):
    conversation.reply("word " * 300)
    assert conversation.turns == [] and not conversation.out
    assert "/reset forgets the conversation" in capsys.readouterr().err


def test_a_reply_stopped_by_ctrl_c_is_kept_as_far_as_it_came():
    class Interrupting(list):
        def write(self, text):
            self.append(text)
            if text == "n":
                signal.raise_signal(signal.SIGINT)

        def flush(self):
            """Everything is there at once."""

    engine = Engine("scripted", ScriptedBackend(b"Oh no, and so on."))
    stopped = Conversation(engine, Options(50, 0.0, None), Interrupting())
    stopped.reply("hi")
    assert stopped.turns[-1] == {"role": "assistant", "content": "Oh n"}
    with pytest.raises(BadInput):
        engine.chat([])


def test_piped_lines_are_answered_in_turn(tiny_gguf):
    text = "hi\n\n/system Be kind.\n/help\nhi\n/quit\nnever\n"
    code, out, err = talk(tiny_gguf, text, "--max-tokens", "3", "--seed", "1")
    assert code == 0 and out.endswith("\n")
    assert SPEED.findall(err) == [("3", ", cut at the limit")] * 2
    assert "system message set" in err and "/reset" in err
    assert "llama" not in err and "never" not in err


def test_the_end_of_the_input_ends_the_talk(tiny_gguf):
    code, out, err = talk(tiny_gguf, "", "--system", "Be kind.")
    assert (code, out, err) == (0, "", "tiny-F16; /help lists the commands\n")


def test_json_is_the_conversation_and_nothing_else(tiny_gguf):
    code, out, _ = talk(tiny_gguf, "hi\n", "--json", "--max-tokens", "30", "--seed", "3")
    messages = json.loads(out)["messages"]
    assert code == 0 and [m["role"] for m in messages] == ["user", "assistant"]


def test_ctrl_c_stops_a_reply_and_then_the_talk(tiny_gguf):
    process = start(tiny_gguf, "--max-tokens", "100000", "--seed", "2")
    process.stdin.write(b"hi\n")
    process.stdin.flush()
    assert process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    lines = [process.stderr.readline().decode() for _ in range(2)]
    assert lines[1].endswith(", stopped]\n")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
