"""The tab *Chat*: talk to one file, see how fast it is, stop it, correct yourself.

In: a served file. Out: components and their events inside the page that is being built. A reply
that fails says so in the line below the chat; nothing is refused.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import gradio as gr

from demo.desk import Desk
from demo.hearing import Ear, Heard, together
from demo.turns import (
    Chats,
    Said,
    Talk,
    asking,
    messages,
    rewritten,
    shown,
    unanswered,
)
from distill.core.serving import Served

OPENERS = (
    "I did not get the job.",
    "We are getting a dog!",
    "My best friend moved away.",
    "I failed my exam.",
)
WELCOME = "Say what is on your mind, or begin with one of these."
MEGABYTE = 1024 * 1024
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
Update = dict[Any, Any]


class ChatTab:
    """The components, and what happens to them; every way to ask ends in `answer`."""

    def __init__(self, server: Served, ear: Ear) -> None:
        self._server, self._ear = server, ear
        self.desk: Desk[Chats] = Desk(Chats)
        with gr.Row(elem_classes="bar"):
            self.choice = gr.Dropdown(
                Chats().titles(),
                value=0,
                label="Chats of this page",
                show_label=False,
                container=False,
                filterable=False,
                scale=5,
                min_width=160,
            )
            self.fresh = gr.Button("New chat", scale=0, min_width=110)
        self.board = board_of(server)
        with gr.Row(elem_classes="openers") as self.openers:
            self.first_words = [gr.Button(text, size="sm", min_width=150) for text in OPENERS]
        self.figures = gr.Markdown(" ", elem_classes="figures")
        with gr.Row(elem_classes="entry"):
            self.box = entry("Your message")
            self.send = gr.Button("Send", variant="primary", scale=0, min_width=110)
            self.stop = gr.Button("Stop", scale=0, min_width=110, visible=False)
        self._wire()

    def _wire(self) -> None:
        page = [self.board, self.choice, self.figures, self.box, self.send, self.stop, self.openers]
        asked = [
            gr.on([self.box.submit, self.send.click], self.ask, [self.box], page, **AT_ONCE),
            *(button.click(self.ask, [button], page, **AT_ONCE) for button in self.first_words),
            self.board.retry(self.again, None, page, **AT_ONCE),
            self.board.edit(self.correct, None, page, **AT_ONCE),
        ]
        for event in asked:
            event.then(
                self.answer, None, page, concurrency_limit=None, trigger_mode="multiple", **QUIET
            )
        self.stop.click(self.halt, **AT_ONCE)
        self.board.clear(self.empty, None, page, **AT_ONCE)
        self.fresh.click(self.another, None, page, **AT_ONCE)
        self.choice.input(self.choose, [self.choice], page, **AT_ONCE)

    async def answer(self, request: gr.Request) -> AsyncGenerator[Update]:
        """Stream the reply to the open chat's last message."""
        visit = self.desk.visit(request)
        talk, heard = visit.value.talk, Heard()
        showing: Talk = ()
        if not talk or talk[-1].role != "user":
            yield {self.figures: gr.skip()}
            return
        stop = visit.begin()
        languages = request.headers.get("accept-language", "")
        asked = self._ear.reply(self._server, messages(talk), languages)
        async with aclosing(together([asked], stop)) as news:
            async for (heard,) in news:
                if not visit.awaits(stop):
                    break
                whole = with_reply(talk, heard)
                visit.value = visit.value.holding(whole)
                before, showing = showing, open_part(whole)
                board = {self.board: on_board(showing)} if showing != before else {}
                yield {self.figures: summary(heard), **board}
        memory = await self._ear.memory_bytes(self._server)
        if visit.awaits(stop):
            said = summary(heard, memory, stopped=not heard.ended)
            everything = on_board(visit.value.talk)
            yield {self.board: everything, self.figures: said, **self.waiting(False)}
        else:  # Gradio shows the last value again, and by now that is another chat's
            yield {self.figures: gr.skip()}

    def waiting(self, busy: bool) -> Update:
        return {self.send: gr.update(visible=not busy), self.stop: gr.update(visible=busy)}

    def opened(self, request: gr.Request, held: Chats, busy: bool) -> Update:
        """Hold these chats, whatever was still being written, and show the open one."""
        visit = self.desk.visit(request)
        visit.leave()
        visit.value = held
        return {
            self.board: on_board(held.talk),
            self.choice: gr.update(choices=held.titles(), value=held.current),
            self.figures: " ",
            self.openers: gr.update(visible=not held.talk),
            **self.waiting(busy),
        }

    async def ask(self, text: str, request: gr.Request) -> Update:
        if not text.strip():
            return {self.box: ""}
        held = self.desk.visit(request).value
        held = held.holding(asking(held.talk, text.strip()))
        return {self.box: "", **self.opened(request, held, True)}

    async def again(self, request: gr.Request) -> Update:
        held = self.desk.visit(request).value
        return self.opened(request, held.holding(unanswered(held.talk)), True)

    async def correct(self, edited: gr.EditData, request: gr.Request) -> Update:
        held = self.desk.visit(request).value
        place = edited.index[0] if isinstance(edited.index, list | tuple) else edited.index
        talk = rewritten(held.talk, place, str(edited.value))
        return self.opened(request, held.holding(talk), True)

    async def empty(self, request: gr.Request) -> Update:
        return self.opened(request, self.desk.visit(request).value.holding(()), False)

    async def another(self, request: gr.Request) -> Update:
        return self.opened(request, self.desk.visit(request).value.with_another(), False)

    async def choose(self, number: int, request: gr.Request) -> Update:
        held = self.desk.visit(request).value
        if number == held.current:
            return {self.figures: gr.skip()}
        return self.opened(request, held.choosing(number), False)

    async def halt(self, request: gr.Request) -> None:
        self.desk.visit(request).stop()


def board_of(server: Served) -> gr.Chatbot:
    return gr.Chatbot(
        label=f"Chat with {server.model}",
        show_label=False,
        elem_classes="board",
        height="auto",
        editable="user",
        render_markdown=False,
        buttons=["copy"],
        feedback_options=None,
        layout="bubble",
        group_consecutive_messages=False,
        placeholder=WELCOME,
    )


def entry(name: str) -> gr.Textbox:
    """Where a message is typed; Enter sends it."""
    return gr.Textbox(
        label=name,
        placeholder=name,
        show_label=False,
        container=False,
        max_lines=6,
        scale=5,
        min_width=160,
    )


def on_board(talk: Talk) -> list[dict[str, Any]]:
    """The messages as Gradio's chat takes them: what is said is shown letter by letter."""
    return [
        {"role": one.role, "content": gr.HTML(one.html) if one.html else one.text}
        for one in shown(talk)
    ]


def with_reply(talk: Talk, heard: Heard) -> Talk:
    """The chat with what was heard so far; silence is no turn."""
    if not (heard.text or heard.help):
        return talk
    return (*talk, Said("assistant", heard.text, heard.help, heard.locale))


def open_part(talk: Talk) -> Talk:
    """The chat without words that are folded: while they come there is nothing to open."""
    *before, last = talk
    return (*before, replace(last, text="")) if last.help else talk


def summary(heard: Heard, memory: int | None = None, stopped: bool = False) -> str:
    """How the reply went, in one line."""
    if heard.trouble:
        return f"No reply: {heard.trouble}."
    parts = ["stopped"] if stopped else []
    if heard.first_token_s is not None:
        parts.append(f"first token {heard.first_token_s * 1000:.0f} ms")
        parts.append(f"{heard.tokens} tokens")
    if heard.tokens_per_s:
        parts.append(f"{heard.tokens_per_s:.0f} tokens/s")
    if memory:
        parts.append(f"memory {memory / MEGABYTE:.0f} MB")
    if heard.guard and heard.guard["fired"]:
        parts.append(f"guard: {heard.guard['says']}")
    return " · ".join(parts) or " "
