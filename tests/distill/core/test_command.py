"""The command line as a person and a shell meet it: words, completion, colour, silence, codes."""

import contextlib
import io
import json
import os
import pty
import re
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import typer

from distill.cli import COMMANDS
from distill.core import command, progress
from distill.core.command import Entry, Outcome, every_command, group_of, load, main
from distill.core.errors import BadInput, MissingExtra
from tests.distill.command_line import distill

COLOUR = re.compile(r"\x1b\[[0-9;]*(3|4|9)[0-7]m")


def line(*words, table=COMMANDS, bare=None, environment=None):
    """Exit code, standard output and standard error of words, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["distill", *words]),
        patch.dict(os.environ, environment or {}),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main("distill", "Help.", table, bare)
    return int(ended.value.code or 0), out.getvalue(), err.getvalue()


def completed(text, table=COMMANDS):
    """What bash is offered for the last word of a line."""
    words = {"COMP_WORDS": text, "COMP_CWORD": str(len(text.split(" ")) - 1)}
    code, out, err = line(table=table, environment={"_DISTILL_COMPLETE": "complete_bash", **words})
    assert not err
    return code, out.split()


@pytest.fixture
def table(monkeypatch):
    """Two commands of a module that is made here."""

    @command.command
    def tell() -> Outcome:
        """Tell."""
        progress.say("on the way")
        return Outcome({"told": 1}, ["told"])

    @command.command
    def refuse() -> Outcome:
        """Refuse."""
        progress.say("on the way")
        raise BadInput("the moon is not a file; give a file")

    @command.command
    def leave() -> Outcome:
        """Leave as a person does who presses Ctrl-C."""
        raise KeyboardInterrupt

    @command.command
    def abort() -> Outcome:
        """Leave as Typer does at the end of a prompt."""
        raise typer.Abort

    for function in (tell, refuse, leave, abort):
        monkeypatch.setitem(sys.modules, f"made.{function.__name__}", SimpleNamespace(run=function))
    return {
        name: Entry(f"made.{name}", f"{name} it.") for name in ("tell", "refuse", "leave", "abort")
    }


def test_a_mistyped_command_is_answered_with_the_likely_one():
    code, out, err = line("trian")
    assert (code, out) == (2, "")
    assert "Did you mean 'train'?" in err


def test_a_mistyped_option_is_answered_with_the_likely_one():
    code, _, err = line("gather", "starter", "--cuont", "3")
    assert code == 2
    assert "--count" in err.splitlines()[-1]


def test_a_file_in_the_place_of_a_command_is_told_the_command(tmp_path):
    file = tmp_path / "mine.gguf"
    assert "No such command" in line("demo", str(file))[2]
    file.write_text("")
    code, out, err = line("demo", str(file))
    assert (code, out) == (2, "")
    assert err == f"error: {file} is no command; give it to one: distill demo chat {file}\n"


def test_a_folder_in_the_place_of_a_file_is_one_line(tmp_path):
    code, _, err = line("eval", "latency", "mine.gguf", "--dialogues", str(tmp_path))
    assert (code, err) == (2, f"error: {tmp_path}: this is a folder; give a file\n")
    code, _, err = line("eval", "latency", "n" * 300)
    assert (code, err.count("\n")) == (2, 1)
    assert "this name is too long for a file" in err


def test_words_that_are_no_command_line_are_json_too_when_that_was_asked():
    code, out, err = line("gather", "--cuont", "3", "--json")
    assert code == 2
    assert json.loads(out)["error"] in err


def test_the_version_is_that_of_the_package():
    for name in ("distill", "export", "runtime", "eval", "demo"):
        argv = [sys.executable, "-m", name, "--version"]
        done = subprocess.run(argv, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert re.fullmatch(rf"{name} \d+\.\d+\.\d+\S*\n", done.stdout)


def test_help_tells_the_exit_codes_and_h_is_help():
    code, out, _ = line("--help")
    assert code == 0
    assert re.findall(r"^  +(\d+)  ", out, re.MULTILINE) == ["0", "1", "2", "130"]
    assert line("-h")[1] == out


def test_the_next_word_is_offered_without_importing_what_it_names():
    for name in ("distill.train", "eval.winrate"):
        sys.modules.pop(name, None)
    assert completed("distill tr") == (0, ["train"])
    assert completed("distill eval win") == (0, ["winrate"])
    assert not {"distill.train", "eval.winrate"} & set(sys.modules)


def test_options_of_a_command_are_offered():
    assert completed("distill train --dry") == (0, ["--dry-run"])
    assert completed("distill eval scoring learn-c") == (0, ["learn-caring"])


def test_a_shell_that_asks_about_a_command_that_cannot_load_is_answered_with_silence():
    lacking = {"fly": Entry("made.fly", "Fly.", "wings", ("no_such_module",))}
    assert completed("distill fly --h", lacking) == (2, [])
    with pytest.raises(MissingExtra, match=r"pip install 'kindred-slm\[wings\]'"):
        load("fly", lacking["fly"])


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_asks_our_command(shell):
    test_only = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code, out, _ = line("--show-completion", shell, environment=test_only)
    assert code == 0
    assert "_DISTILL_COMPLETE" in out


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_what_is_installed_for_bash_completes_in_bash(tmp_path):
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    argv = ["distill", "--install-completion", "bash"]
    subprocess.run(argv, env=environment, check=True, capture_output=True)
    script = """
        . ~/.bashrc
        COMP_WORDS=(distill eval win) COMP_CWORD=2
        _distill_completion distill && echo "${COMPREPLY[@]}"
    """
    asked = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)
    assert (asked.stdout, asked.stderr) == ("winrate\n", "")


def test_quiet_silences_remarks_and_neither_result_nor_error(table):
    assert line("tell", table=table) == (0, "told\n", "on the way\n")
    assert line("tell", "--quiet", table=table) == (0, "told\n", "")
    assert line("tell", "-q", "--json", table=table) == (0, '{"told": 1}\n', "")
    said = "error: the moon is not a file; give a file\n"
    assert line("refuse", "--quiet", table=table) == (2, "", said)
    assert line("tell", table=table)[2] == "on the way\n"


def test_a_bar_tells_the_time_that_is_left_and_is_silent_when_hushed(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    titles = [type(column).__name__ for column in progress.bar().columns]
    assert "TimeRemainingColumn" in titles
    assert not progress.bar().disable
    progress.hush(True)
    try:
        assert progress.bar().disable
    finally:
        progress.hush(False)


def test_stopping_has_codes_of_its_own(table):
    assert line("leave", table=table)[0] == 130
    assert line("abort", table=table) == (1, "", "error: stopped\n")


def test_a_group_may_have_a_command_for_no_word(table):
    assert line(table=table, bare="tell") == (0, "told\n", "on the way\n")
    code, out, _ = line("--help", table=table, bare="tell")
    assert code == 0 and "tell it." in out
    code, _, err = line(table=table)
    assert code == 2 and "Usage:" in err


def test_a_group_lists_its_commands_in_the_order_of_the_table(table):
    assert group_of("made", "Help.", table).list_commands(None) == list(table)


def in_a_terminal(code, **environment):
    """What a program writes when a terminal is all that it has."""
    ours, its = pty.openpty()
    given = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"}
    argv = [sys.executable, "-c", code]
    running = subprocess.Popen(argv, stdout=its, stderr=its, env=given | environment)
    os.close(its)
    written = b""
    with contextlib.suppress(OSError):  # Linux tells the end of a terminal so
        while part := os.read(ours, 4096):
            written += part
    os.close(ours)
    assert running.wait() == 0
    return written.decode()


def test_no_color_is_heeded_in_a_terminal():
    code = "from distill.core.progress import track; list(track('abc', 'letters', 3))"
    assert COLOUR.search(in_a_terminal(code))
    plain = in_a_terminal(code, NO_COLOR="1")
    assert "letters" in plain and not COLOUR.search(plain)


def test_the_command_line_of_a_process_is_the_same(tmp_path):
    done = distill("gather", "starter", "--parts", "f", "--out", tmp_path / "a", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_every_command_takes_json_and_can_be_quiet():
    lacking = {
        (words, option)
        for words, loaded in every_command(COMMANDS)
        for option in ("json", "quiet")
        if not hasattr(loaded, "table") and option not in {one.name for one in loaded.params}
    }
    until_stopped = (
        *("runtime chat", "runtime serve", "demo chat", "demo pocket"),
        *("dev fake-openai", "dev fake-gemini"),
    )
    assert lacking <= {(words, "quiet") for words in until_stopped}
