"""`distill runtime chat`: replies on standard output, everything else on standard error."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import stat
import subprocess
import sys
import termios
import time
from pathlib import Path

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


def test_a_talk_is_saved_for_its_owner_and_never_over_another_file(conversation, tmp_path, capsys):
    conversation.reply("hi")
    file = tmp_path / "talk.json"
    conversation.obey(f"/save {file}")
    assert json.loads(file.read_text()) == {"messages": conversation.messages()}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    conversation.reply("again")
    conversation.obey(f"/save {file}")
    conversation.obey("/save")
    conversation.obey(f"/save {tmp_path / 'missing' / 'talk.json'}")
    assert file.read_text() == before
    said = capsys.readouterr().err
    for remark in (
        "2 messages saved",
        "is there already",
        "needs a file name",
        "cannot be written",
    ):
        assert remark in said


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


class Screen:
    """A terminal with a talk in it: keys go in, what is shown comes out."""

    def __init__(self, file, *words):
        line = [sys.executable, "-m", "distill", "runtime", "chat", str(file), "--threads", "1"]
        self.leader, follower = pty.openpty()
        self.process = subprocess.Popen(
            [*line, *words],
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(follower)
        self.shown = ""

    def type(self, keys):
        os.write(self.leader, keys.encode())

    def until(self, pattern, timeout_s=60):
        """Read until `pattern` is shown; forget what came before its end."""
        end = time.monotonic() + timeout_s
        while not (found := re.search(pattern, self.shown)):
            left = end - time.monotonic()
            assert left > 0, f"{pattern} not in {self.shown[-500:]!r}"
            if select.select([self.leader], [], [], left)[0]:
                try:
                    self.shown += os.read(self.leader, 65536).decode("utf-8", "replace")
                except OSError:  # the other end is closed
                    assert re.search(pattern, self.shown), self.shown[-500:]
        self.shown = self.shown[found.end() :]
        return found

    def until_it_waits(self):
        """Until its main thread sleeps: Python's line editor loses a Ctrl-C that comes between
        the prompt and the wait for a key.
        """
        state = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/stat")
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] != "S":
            os.sched_yield()

    def close(self):
        code = self.process.wait(timeout=30)
        os.close(self.leader)
        return code


def test_a_talk_in_a_real_terminal(tiny_gguf, tmp_path):
    file = tmp_path / "talk.json"
    screen = Screen(tiny_gguf, "--max-tokens", "3", "--seed", "1")
    screen.until("> ")
    screen.type("hello\n")
    assert screen.until(SPEED)[1] == "3"
    screen.until("> ")
    screen.type("\x1b[A\n")  # the arrow up: the last line again
    screen.until(SPEED)
    screen.type(f"/save {file}\n")
    screen.until("4 messages saved")
    screen.type("/reset\n")
    screen.until("forgotten")
    screen.until("> ")
    screen.type("\x04")
    assert screen.close() == 0
    said = [m["content"] for m in json.loads(file.read_text())["messages"] if m["role"] == "user"]
    assert said == ["hello", "hello"]


def test_ctrl_c_in_a_real_terminal_stops_the_reply_and_then_leaves(tiny_gguf):
    screen = Screen(tiny_gguf, "--max-tokens", "100000", "--seed", "2")
    screen.until("> ")
    screen.type("hi\n")
    screen.until(r"hi\r?\n.")  # the reply has begun
    screen.type("\x03")
    screen.until(r", stopped\]")
    screen.until("> ")
    screen.until_it_waits()
    screen.type("\x03")
    assert screen.close() == 0
    assert "Traceback" not in screen.shown
