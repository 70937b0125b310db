"""Chats as values: what is shown, sent, corrected."""

from demo.turns import (
    Chats,
    Said,
    asking,
    folded_html,
    help_html,
    messages,
    rewritten,
    shown,
    title,
    unanswered,
)
from runtime.guard import Guard

BLOCK = "People can help.\n- Call them.\n\n"
TALK = (
    Said("user", "one"),
    Said("assistant", "first", BLOCK),
    Said("user", "two"),
    Said("assistant", "second"),
)


def test_a_block_of_help_is_shown_before_the_words_and_sent_back_as_it_came():
    bubbles = shown(TALK)
    assert [bubble.text for bubble in bubbles] == [
        "one",
        BLOCK.strip(),
        "first",
        "two",
        "second",
    ]
    assert [bubble.html[:9] for bubble in bubbles] == ["", "<div clas", "<details ", "", ""]
    assert messages(TALK)[1] == {"role": "assistant", "content": BLOCK + "first"}


def test_the_runtime_knows_its_block_again_and_does_not_show_it_twice():
    guard = Guard()
    asked = [{"role": "user", "content": "I am going to kill myself tonight."}]
    block = guard.check_conversation(asked).block
    assert block
    talk = (Said("user", asked[0]["content"]), Said("assistant", "I am here.", block))
    again = guard.check_conversation(messages(asking(talk, "Thanks.")))
    assert again.block == ""


def test_a_corrected_message_ends_the_chat_there_though_bubbles_are_more_than_turns():
    assert shown(TALK)[3].text == "two"
    assert rewritten(TALK, 3, "three") == (*TALK[:2], Said("user", "three"))


def test_regenerating_keeps_the_last_message_and_drops_its_reply():
    assert unanswered(TALK) == TALK[:3]
    assert unanswered(TALK[:3]) == TALK[:3]
    assert unanswered(()) == ()


def test_a_block_is_text_on_the_page_and_never_markup():
    assert "&lt;img&gt;" in help_html("<img>\n\n", "default")
    assert "&lt;img&gt;" in folded_html("<img>")


def test_whose_help_lines_they_are_is_said_with_a_way_out_of_a_wrong_guess():
    told = help_html(BLOCK, "en-GB")
    assert "help lines of en-GB" in told and "In another country: findahelpline.com" in told
    assert "country" not in help_html(BLOCK, "default")


def test_a_block_without_words_is_one_bubble():
    assert len(shown((Said("assistant", "", BLOCK),))) == 1


def test_several_chats_keep_their_turns_and_an_empty_one_is_taken_again():
    chats = Chats().holding(TALK).with_another()
    assert chats.talk == ()
    assert chats.with_another() == chats
    assert [number for _, number in chats.titles()] == [1, 0]
    assert chats.choosing(0).talk == TALK


def test_a_long_first_message_makes_a_short_title():
    assert title((Said("user", "word " * 30),), 0) == "1. " + ("word " * 30)[:39].rstrip() + "…"
    assert title((), 3) == "New chat"
