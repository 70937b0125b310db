"""Replies as the page hears them: from the runtime's own events, and when a server refuses."""

import asyncio
import json

import pytest

from demo.hearing import MOST_TOKENS, Ear, Heard, after, together
from demo.tab_chat import summary
from distill.core.serving import Served, served
from runtime.guard import Guard
from runtime.replies import Completion, Piece
from tests.endpoint import StubEndpoint

CRISIS = [{"role": "user", "content": "I am going to kill myself tonight."}]


def heard_of(lines):
    """What is known after events as the runtime spells them."""
    heard = Heard()
    for place, line in enumerate(lines):
        if line.startswith(b"data: {"):
            heard = after(heard, json.loads(line.removeprefix(b"data: ")), 0.1 * place)
    return heard


def test_the_block_of_the_guard_is_told_from_the_words():
    checked = Guard().check_conversation(CRISIS)
    shape = Completion("tiny", checked=checked)
    pieces = [shape.piece_event(Piece(text)) for text in ("I am", " here.")]
    heard = heard_of([*shape.opening(), *pieces])
    assert heard.help == checked.block
    assert heard.text == "I am here."
    assert heard.guard["fired"] and heard.guard["says"]
    assert heard.first_token_s == pytest.approx(0.2)
    assert "guard: the person may be" in summary(heard)


def test_words_without_a_block_are_words():
    shape = Completion("tiny", checked=Guard().check_conversation([]))
    heard = heard_of([*shape.opening(), shape.piece_event(Piece("Hello"))])
    assert (heard.help, heard.text) == ("", "Hello")


def test_an_error_in_the_stream_is_the_replys_trouble():
    heard = after(Heard("some"), {"error": {"message": "the server is stopping"}}, 1.0)
    assert summary(heard) == "No reply: the server is stopping."


async def hear(server, stop=None):
    messages = [{"role": "user", "content": "Hello"}]
    async with Ear() as ear:
        asked = [ear.reply(server, messages)]
        return [one async for (one,) in together(asked, stop or asyncio.Event())]


def test_a_file_is_heard_from_first_token_to_the_figures(tiny_gguf):
    with served(tiny_gguf, threads=1) as server:
        (*_, last) = asyncio.run(hear(server))
        assert last.ended and last.text and not last.trouble
        assert 0 < last.tokens <= MOST_TOKENS and last.tokens_per_s > 0
        stop = asyncio.Event()
        stop.set()
        (stopped,) = asyncio.run(hear(server, stop))
        assert stopped == Heard()


def test_a_refusal_is_told_in_the_servers_words():
    with StubEndpoint(lambda text: text, status=lambda call: 503) as endpoint:
        (*_, last) = asyncio.run(hear(Served(endpoint.url, "stub", 0)))
    assert last.trouble == "scripted status 503"


def test_a_server_that_is_gone_is_told(tmp_path):
    (*_, last) = asyncio.run(hear(Served("http://127.0.0.1:9/v1", "gone", 0)))
    assert last.trouble == "the server does not answer (ConnectError)"
