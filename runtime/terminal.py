"""Talk to a file in the terminal.

In: a GGUF file, lines on standard input. Out: replies on standard output as they are written;
everything else (the prompt, speeds, remarks) on standard error. Refused: an unusable file. What is
said stays in memory unless `/save` writes it.
"""

import json as json_format
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from distill.core.errors import BadInput
from distill.core.progress import say
from runtime.guarding.switch import GuardLocale, GuardPolicy, GuardSwitch, guard_for

if TYPE_CHECKING:
    from runtime.engine import Engine
    from runtime.guard import Guard

COMMANDS = """/reset          forget the conversation
/system TEXT    set the system message, and start anew (no text: none)
/save FILE      write the conversation as JSON; nothing else is ever written
/help           these lines
/quit           leave (also Ctrl-D); Ctrl-C stops a reply"""
WROTE = "[what the model wrote: the words of a small program, and no advice]"


@dataclass
class Options:
    """How replies are drawn."""

    max_tokens: int
    temperature: float
    seed: int | None


@dataclass
class Conversation:
    """One talk with one engine."""

    engine: "Engine"
    options: Options
    out: TextIO
    system: str = ""
    turns: list[dict[str, str]] = field(default_factory=list)
    guard: "Guard | None" = None

    def messages(self) -> list[dict[str, str]]:
        head = [{"role": "system", "content": self.system}] if self.system else []
        return [*head, *self.turns]

    def reply(self, text: str) -> None:
        """Answer one line; a reply stopped by Ctrl-C is kept as far as it came."""
        self.turns.append({"role": "user", "content": text})
        interrupted = threading.Event()
        try:
            reply = self.engine.chat(
                self.guard.without_blocks(self.messages()) if self.guard else self.messages(),
                max_tokens=self.options.max_tokens,
                temperature=self.options.temperature,
                seed=self.options.seed,
                cancelled=interrupted.is_set,
            )
        except BadInput as error:
            self.turns.pop()
            say(f"{error}; /reset forgets the conversation")
            return
        block = self.guard.check_conversation(self.turns).block if self.guard else ""
        written = [block]
        self._show(block)
        if block:
            say(WROTE)
        with on_interrupt(interrupted.set):
            for piece in reply:
                written.append(piece.text)
                self._show(piece.text)
        self._show("\n")
        self._remember("".join(written))
        timings = reply.timings()
        end = {"length": ", cut at the limit", None: ", stopped"}.get(reply.finish_reason, "")
        say(
            f"[{reply.tokens} tokens, {timings['tokens_per_s']:.0f} tokens/s, "
            f"first after {timings['first_token_s'] * 1000:.0f} ms{end}]"
        )

    def _show(self, text: str) -> None:
        self.out.write(text)
        self.out.flush()

    def _remember(self, text: str) -> None:
        if text:
            self.turns.append({"role": "assistant", "content": text})
        else:
            self.turns.pop()

    def obey(self, line: str) -> bool:
        """Run a line that begins with a slash; False when it says to leave."""
        word, _, rest = line.partition(" ")
        if word == "/quit":
            return False
        if word == "/reset":
            self.turns.clear()
            say("forgotten")
        elif word == "/system":
            self.system = rest.strip()
            self.turns.clear()
            say("system message set" if self.system else "no system message")
        elif word == "/save":
            self._save(rest.strip())
        else:
            say(COMMANDS if word == "/help" else f"there is no command {word}\n{COMMANDS}")
        return True

    def _save(self, name: str) -> None:
        """Write the messages to a new file that only this user can read."""
        if not name:
            say("/save needs a file name")
            return
        text = json_format.dumps({"messages": self.messages()}, ensure_ascii=False, indent=1)
        try:
            with open(name, "x", encoding="utf-8", opener=privately) as file:
                file.write(text + "\n")
        except FileExistsError:
            say(f"{name} is there already; choose another name")
        except OSError as error:
            say(f"{name} cannot be written: {error.strerror}")
        else:
            say(f"{len(self.messages())} messages saved in {name}")


def privately(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[None]:
    """Within, Ctrl-C calls `act` instead of breaking in wherever the engine happens to be."""
    before = signal.signal(signal.SIGINT, lambda number, frame: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def converse(talk: Conversation) -> None:
    """Read and answer lines until /quit, the end of the input, or Ctrl-C between replies."""
    with suppress(EOFError, KeyboardInterrupt):
        while True:
            line = ask().strip()
            if line.startswith("/"):
                if not talk.obey(line):
                    return
            elif line:
                talk.reply(line)


def ask() -> str:
    """One line; with a prompt and editing on a terminal."""
    if sys.stdin.isatty():
        with suppress(ImportError):
            import readline  # noqa: F401  (gives input() history and editing)
        return input("> ")
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def run(
    file: Annotated[Path, typer.Argument(help="A GGUF file or an ONNX folder.")],
    system: Annotated[str, typer.Option(help="A system message.")] = "",
    max_tokens: Annotated[int, typer.Option(help="Longest reply, in tokens.", min=1)] = 256,
    temperature: Annotated[
        float, typer.Option(help="0 always takes the likeliest token.", min=0)
    ] = 0.7,
    seed: Annotated[int | None, typer.Option(help="The same seed, the same replies.")] = None,
    context: Annotated[
        int, typer.Option(help="Tokens that a chat may hold, reply included.", min=1)
    ] = 2048,
    threads: Annotated[
        int | None, typer.Option(help="Threads; by default the physical cores.", min=1)
    ] = None,
    guard: GuardSwitch = "on",
    guard_locale: GuardLocale = "default",
    guard_policy: GuardPolicy = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the conversation as one JSON object at the end.")
    ] = False,
) -> None:
    """Talk to a file in the terminal: /reset, /system TEXT, /save FILE, /help, /quit."""
    from runtime import load

    watching = guard_for(guard, guard_locale, guard_policy)
    with load(file, context=context, threads=threads) as engine:
        out = sys.stderr if json else sys.stdout
        talk = Conversation(
            engine, Options(max_tokens, temperature, seed), out, system, guard=watching
        )
        say(f"{engine.name}; /help lists the commands")
        converse(talk)
    if json:
        typer.echo(json_format.dumps({"messages": talk.messages()}, ensure_ascii=False))
