"""The page in a browser, on servers that speak slowly: stop, leave, compare, vote, reload."""

import pytest

from distill.core.jsonl import read_jsonl
from distill.core.records import Answer, Judgement
from tests.demo.chromium import browser, needs_chromium
from tests.demo.pages import (
    PHONE,
    active,
    ask,
    elsewhere,
    findings,
    seconds_until,
    shoot,
    started,
    visited,
)

pytestmark = [needs_chromium, pytest.mark.filterwarnings("ignore::ResourceWarning")]
FREED_S = 1.0
PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    """The page, its browser, and where its votes go."""
    home = tmp_path_factory.mktemp("slow")
    with started(["tests.demo.slow_page", home / "votes"], home) as (found, _), browser() as opened:
        yield found, opened, home
    assert (home / "remarks").read_text() == ""


def speaking(page, words="I hear"):
    page.get_by_text(words).first.wait_for(timeout=PATIENCE_MS)


def test_stop_keeps_the_words_and_frees_the_servers_slot(slow, tmp_path):
    found, opened, _ = slow
    with visited(opened, found["url"]) as page:
        ask(page, "Hello")
        speaking(page)
        assert active(found["servers"][0]) == 1
        page.get_by_role("button", name="Stop").click()
        assert seconds_until(lambda: active(found["servers"][0]) == 0) <= FREED_S
        page.get_by_text("stopped").wait_for(timeout=PATIENCE_MS)
        assert page.get_by_text("I hear").count() == 1
        assert page.get_by_role("button", name="Send").is_visible()
        shoot(page, "stopped", tmp_path)


def test_another_chat_and_another_message_end_the_reply_before(slow):
    found, opened, _ = slow
    server = found["servers"][0]
    with visited(opened, found["url"]) as page:
        ask(page, "My first words")
        speaking(page)
        ask(page, "No, wait")
        page.get_by_text("No, wait").first.wait_for(timeout=PATIENCE_MS)
        assert seconds_until(lambda: active(server) == 1) <= FREED_S
        page.get_by_role("button", name="New chat").click()
        assert seconds_until(lambda: active(server) == 0) <= FREED_S
        page.get_by_text("begin with one of these").wait_for(timeout=PATIENCE_MS)
        page.get_by_label("Chats of this page").click()
        page.get_by_role("option", name="1. My first words").click()
        page.get_by_text("No, wait").first.wait_for(timeout=PATIENCE_MS)


def test_a_message_is_corrected_and_answered_again_and_a_reload_forgets_it(slow):
    found, opened, _ = slow
    server = found["servers"][0]
    with visited(opened, found["url"]) as page:
        page.get_by_role("button", name="I failed my exam.").click()
        speaking(page)
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("stopped").wait_for(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Edit").first.click()
        page.locator(".board textarea").fill("I passed my exam.")
        page.get_by_role("button", name="Submit").click()
        page.locator(".board").get_by_text("I passed my exam.").wait_for(timeout=PATIENCE_MS)
        speaking(page)
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("stopped").wait_for(timeout=PATIENCE_MS)
        page.get_by_role("button", name="Retry").click()
        assert seconds_until(lambda: active(server) == 1) < 30
        speaking(page)
        page.reload()
        page.get_by_text("begin with one of these").wait_for(timeout=PATIENCE_MS)
        assert seconds_until(lambda: active(server) == 0) <= FREED_S
        assert page.get_by_text("I passed my exam.").count() == 0
        stored = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
        assert "exam" not in stored


def ask_both(page, text):
    page.get_by_label("Message to both").fill(text)
    page.get_by_role("button", name="Ask both").click()


def test_after_a_block_of_help_both_replies_are_folded_and_nobody_is_asked_to_judge(slow, tmp_path):
    found, opened, _ = slow
    with visited(opened, found["url"], size=PHONE, locale="en-GB") as page:
        page.get_by_role("tab", name="Compare").click()
        ask_both(page, "I want to kill myself tonight.")
        page.locator(".help:visible").wait_for(timeout=PATIENCE_MS)
        for server in found["servers"]:
            assert seconds_until(lambda server=server: active(server) == 1) < 30

        def seen():  # while the models write on
            return page.get_by_text("I hear").count() or page.get_by_text("That is").count()

        assert seconds_until(seen, 1.0) >= 1.0 and page.locator(".wrote").count() == 0
        page.get_by_role("button", name="Stop").click()
        page.get_by_text("No vote: the help comes first").wait_for(timeout=PATIENCE_MS)
        folds = page.locator(".wrote:visible")
        expect = [f"What the model wrote ({side})" for side in ("left", "right")]
        assert folds.all_inner_texts() == expect
        assert page.locator(".help:visible").count() == 1
        assert page.get_by_label("Left", exact=True).count() == 0
        for name in ("Left", "Tie", "Right"):
            assert not page.get_by_role("button", name=name, exact=True).is_enabled()
        shown = page.locator("main").inner_text()
        assert "calm" not in shown.replace("Kindred · calm", "") and "brisk" not in shown
        assert findings(page) == {}
        shoot(page, "compare-help-390", tmp_path)
        for fold in folds.all():
            fold.locator("summary").press("Enter")
        words = {text[:6] for text in folds.locator("div").all_inner_texts()}
        assert words == {"I hear", "That i"}
        assert findings(page) == {}
        ask_both(page, "I lost my keys.")
        page.get_by_label("Left", exact=True).wait_for(timeout=PATIENCE_MS)
        page.locator(".wrote:visible").first.wait_for(state="hidden", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Stop").click()


def test_names_are_hidden_until_the_vote_and_votes_are_kept_when_saved(slow, tmp_path):
    found, opened, home = slow
    with visited(opened, found["url"], size=PHONE, scheme="dark") as page:
        page.get_by_role("tab", name="Compare").click()
        ask_both(page, "I lost my keys.")
        replies = [page.get_by_label(side, exact=True) for side in ("Left", "Right")]
        for words in ("I hear", "That is"):
            told = "s => [...document.querySelectorAll('textarea')].some(t => t.value.includes(s))"
            page.wait_for_function(told, arg=words, timeout=PATIENCE_MS)
        assert not page.get_by_role("button", name="Tie").is_enabled()
        page.get_by_role("button", name="Stop").click()
        for server in found["servers"]:
            assert seconds_until(lambda server=server: active(server) == 0) <= FREED_S
        page.get_by_text("Which reply would you rather get?").wait_for(timeout=PATIENCE_MS)
        assert page.get_by_label("Left: ").count() == 0
        left = "calm" if "I hear" in replies[0].input_value() else "brisk"
        shoot(page, "compare-390", tmp_path)
        page.get_by_role("button", name="Left", exact=True).click()
        page.get_by_label(f"Left: {left}").wait_for(timeout=PATIENCE_MS)
        page.get_by_text(f"You voted: {left} is better").wait_for(timeout=PATIENCE_MS)
        assert not list(home.glob("votes/**/*.jsonl"))
        page.get_by_role("button", name="Save the votes").click()
        page.get_by_text("Votes in this folder: 1").wait_for(timeout=PATIENCE_MS)
        assert findings(page) == {}
        assert elsewhere(page) == []
    (vote,) = read_jsonl(home / "votes/judged/judgements.jsonl", Judgement)
    assert vote.first.startswith(f"{left}:") and vote.verdict.side == "first"
    (answer,) = read_jsonl(home / f"votes/answers/{left}.jsonl", Answer)
    assert answer.finish_reason == "stopped"
