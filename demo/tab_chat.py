"""The tab *Chat*: talk to one file, see how fast it is, stop it, correct yourself.

In: a served file. Out: components and their events inside the page that is being built. A reply
that fails says so in the line below the chat; nothing is refused.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from demo.desk import Desk
from demo.listening import Heard, memory_bytes, reply, together
from demo.turns import (
    Chats,
    Said,
    Talk,
    asking,
    help_html,
    messages,
    rewritten,
    shown,
    unanswered,
)
from distill.core.serving import Served

OPENERS = (
    "I did not get the job.",
    "I am going to be an uncle!",
    "My best friend moved away.",
    "I failed my exam.",
)
WELCOME = "Say what is on your mind, or begin with one of these."
MEGABYTE = 1024 * 1024


def chat_tab(server: Served, desk: Desk) -> None:
    """Build the tab; every way to ask for a reply ends in `answer`."""
    chats = gr.State(Chats())
    with gr.Row(elem_classes="bar"):
        choice = gr.Dropdown(
            Chats().titles(),
            value=0,
            label="Chats of this page",
            show_label=False,
            container=False,
            filterable=False,
            scale=5,
            min_width=160,
        )
        fresh = gr.Button("New chat", scale=0, min_width=110)
    board = gr.Chatbot(
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
    with gr.Row(elem_classes="openers") as openers:
        first_words = [gr.Button(text, size="sm", min_width=150) for text in OPENERS]
    figures = gr.Markdown(" ", elem_classes="figures")
    with gr.Row(elem_classes="entry"):
        box = gr.Textbox(
            label="Your message",
            placeholder="Your message",
            show_label=False,
            container=False,
            autofocus=True,
            lines=1,
            max_lines=6,
            scale=5,
            min_width=160,
        )
        send = gr.Button("Send", variant="primary", scale=0, min_width=110)
        stop = gr.Button("Stop", scale=0, min_width=110, visible=False)

    unchanged = {figures: gr.skip()}

    async def answer(held: Chats, request: gr.Request) -> AsyncGenerator[dict[Any, Any]]:
        """Stream the reply to the open chat's last message."""
        talk, page = held.talk, request.session_hash
        if not talk or talk[-1].role != "user":
            yield unchanged
            return
        stopping, heard = desk.begin(page), Heard()
        asked = reply(desk.http, server, messages(talk))
        async with aclosing(together([asked], stopping)) as news:
            async for (heard,) in news:
                if not desk.serves(page, stopping):
                    break
                whole = with_reply(talk, heard)
                yield {board: on_board(whole), chats: held.holding(whole), figures: summary(heard)}
        memory = await memory_bytes(desk.http, server)
        if desk.serves(page, stopping):
            desk.leave(page)
            said = summary(heard, memory, stopped=not heard.ended)
            yield {figures: said, **waiting(False)}
        else:
            yield unchanged  # Gradio shows the last value again, and that is another chat's now

    def waiting(busy: bool) -> dict[Any, Any]:
        return {send: gr.update(visible=not busy), stop: gr.update(visible=busy)}

    def opened(held: Chats, busy: bool) -> dict[Any, Any]:
        """The page as it stands for these chats."""
        names = gr.update(choices=held.titles(), value=held.current)
        page = {chats: held, board: on_board(held.talk), choice: names, figures: " "}
        return page | waiting(busy) | {openers: gr.update(visible=not held.talk)}

    async def ask(text: str, held: Chats) -> dict[Any, Any]:
        if not text.strip():
            return {box: ""}
        held = held.holding(asking(held.talk, text.strip()))
        return {box: "", **opened(held, True)}

    async def empty(held: Chats, request: gr.Request) -> dict[Any, Any]:
        desk.leave(request.session_hash)
        return opened(held.holding(()), False)

    async def again(held: Chats) -> dict[Any, Any]:
        return opened(held.holding(unanswered(held.talk)), True)

    async def correct(held: Chats, edited: gr.EditData) -> dict[Any, Any]:
        place = edited.index[0] if isinstance(edited.index, list | tuple) else edited.index
        return opened(held.holding(rewritten(held.talk, place, str(edited.value))), True)

    async def another(held: Chats, request: gr.Request) -> dict[Any, Any]:
        desk.leave(request.session_hash)
        return opened(held.with_another(), False)

    async def choose(number: int, held: Chats, request: gr.Request) -> dict[Any, Any]:
        if number == held.current:
            return unchanged
        desk.leave(request.session_hash)
        return opened(held.choosing(number), False)

    async def halt(request: gr.Request) -> None:
        desk.stop(request.session_hash)

    page = [chats, board, choice, figures, box, send, stop, openers]
    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    at_once: dict[str, Any] = {**quiet, "queue": False}
    asked = [
        gr.on([box.submit, send.click], ask, [box, chats], page, **at_once),
        *(button.click(ask, [button, chats], page, **at_once) for button in first_words),
        board.retry(again, [chats], page, **at_once),
        board.edit(correct, [chats], page, **at_once),
    ]
    for event in asked:
        event.then(answer, [chats], page, concurrency_limit=None, trigger_mode="multiple", **quiet)
    stop.click(halt, **at_once)
    board.clear(empty, [chats], page, **at_once)
    fresh.click(another, [chats], page, **at_once)
    choice.input(choose, [choice, chats], page, **at_once)


def on_board(talk: Talk) -> list[dict[str, Any]]:
    """The messages as Gradio's chat takes them: what is said is shown letter by letter."""
    return [
        {"role": one.role, "content": gr.HTML(help_html(one.text)) if one.is_help else one.text}
        for one in shown(talk)
    ]


def with_reply(talk: Talk, heard: Heard) -> Talk:
    """The chat with what was heard so far; silence is no turn."""
    if not (heard.text or heard.help):
        return talk
    return (*talk, Said("assistant", heard.text, heard.help))


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
