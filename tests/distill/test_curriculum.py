"""The curriculum: coherent by construction, varied, seeded, and split by event."""

import itertools
import re
from collections import Counter

import pytest

from distill.corpora.curriculum.corpus import curriculum_items
from distill.corpora.curriculum.echo import echo
from distill.corpora.curriculum.events import emotion_files, parse, problems_of
from distill.corpora.curriculum.generate import GRADES, examples, repeats, split_of_event
from distill.corpora.curriculum.grammar import SECOND_PERSON, Filler, render
from distill.corpora.curriculum.moments import moment_files, parse_moments


@pytest.fixture(scope="module")
def sample():
    return list(itertools.islice(examples(seed=3), 20_000))


def test_there_are_several_hundred_events_in_thirty_two_emotions():
    files = emotion_files()
    assert len(files) == 32
    assert sum(len(file.events) for file in files) >= 400


def test_no_event_can_make_an_incoherent_dialogue():
    assert [
        p for file in emotion_files() for event in file.events for p in problems_of(event)
    ] == []


def test_every_emotion_has_a_hundred_moments_of_its_own():
    files = moment_files()
    assert [f.emotion for f in files] == [f.emotion for f in emotion_files()]
    assert sum(len(f.moments) for f in files) >= 3000
    told = [line for f in files for m in f.moments for line in m.tell]
    assert len(set(told)) > 0.99 * len(told)


def test_most_dialogues_are_moments_and_their_situation_tells_it_otherwise(sample):
    ids = {m.id for f in moment_files() for m in f.moments}
    moments = [e for e in sample if e.event in ids]
    assert 0.66 < len(moments) / len(sample) < 0.74
    assert all(e.privileged["situation"] != e.turns[0].content for e in moments)


@pytest.mark.parametrize(
    ("said", "back"),
    [
        ("I was so tired that I sat down. Help!", "You were so tired that you sat down."),
        ("What a day! My niece won the math contest!", "Your niece won the math contest."),
        (
            "We just sold our house and I never was so sad.",
            "You just sold your house and you never were so sad.",
        ),
        ("She told me that I was late.", "She told you that you were late."),
        ("I just wasn't ready.", "You just weren't ready."),
        ("Do you know my brother?", None),
        ("It rains. Nobody came.", None),
    ],
)
def test_what_was_said_is_said_back_in_the_second_person(said, back):
    assert echo(said) == back


def test_a_reply_does_not_repeat_four_words_of_what_it_took_up(sample):
    assert repeats("Your old red bike is gone.", "What was your old red bike like?")
    assert not repeats("Your bike is gone.", "What was your bike like?")
    looped = 0
    for e in sample:
        lines = re.findall(r"[^.!?]+[.!?]", e.replies["improved"])
        looped += any(repeats(a, b) for a, b in itertools.combinations(lines, 2))
    assert looped / len(sample) < 0.005


def test_moments_are_refused_with_the_moment_and_the_line():
    text = """
emotion: sad
moments:
- slots: {pet: $pet}
  tell: ["{Pet} died.", "x", "y"]
  notice: ["Poor {pet}.", z]
  ask: [a]
  direct: [d]
  plain: [p]
"""
    with pytest.raises(ValueError, match=r"sad.yaml: moment '\{Pet\} died.': slot \['pet'\]"):
        parse_moments(text, "sad.yaml")
    twice = text.replace("{Pet} died.", "t").replace("Poor {pet}.", "n")
    again = twice + twice[twice.index("- slots") :]
    with pytest.raises(ValueError, match="told twice: t"):
        parse_moments(again, "sad.yaml")


def test_the_same_seed_gives_the_same_dialogues():
    first, second = (list(itertools.islice(examples(seed=7), 50)) for _ in range(2))
    assert first == second
    assert first != list(itertools.islice(examples(seed=8), 50))


def test_no_reply_skeleton_is_in_more_than_two_in_a_thousand_lines(sample):
    for grade in GRADES:
        most = Counter(e.skeletons[grade] for e in sample).most_common(1)[0]
        assert most[1] / len(sample) <= 0.002, most


def test_no_slot_is_left_open_and_every_sentence_starts_with_a_capital(sample):
    for e in sample:
        for reply in e.replies.values():
            assert not re.search(r"[{}|$]", reply), reply
            assert not re.search(r"(^|[.!?] )[a-z]", reply), reply
            assert not re.search(r"\b(my|our) \b(?=\1)", reply), reply


def test_improved_replies_are_of_conversational_length(sample):
    words = [len(e.replies["improved"].split()) for e in sample]
    assert 20 <= sum(words) / len(words) <= 36
    assert max(words) <= 97


def test_held_out_events_never_occur_in_train():
    train = {(e.emotion, e.event) for e in itertools.islice(examples(1, "train"), 5000)}
    test = {(e.emotion, e.event) for e in itertools.islice(examples(1, "test"), 500)}
    assert test and not train & test
    assert all(split_of_event(*event) == "test" for event in test)


def test_a_dialogue_ends_with_the_user_and_alternates(sample):
    for e in sample[:2000]:
        roles = [turn.role for turn in e.turns]
        assert roles == ["user", "assistant"] * (len(roles) // 2) + ["user"]


def test_three_million_tokens_are_there_on_demand(sample):
    words = sum(len(t.content.split()) for e in sample for t in e.turns)
    words += sum(len(r.split()) for e in sample for r in e.replies.values())
    texts = {e.replies["improved"] for e in sample}
    assert words * 50_000 / len(sample) > 3_000_000
    assert len(texts) > 0.97 * len(sample)


def test_what_the_person_owns_becomes_yours_in_the_reply():
    fillers = {"who": Filler("my sister", "she")}
    assert (
        render("{Who} lost {who:his} keys.", fillers, SECOND_PERSON) == "Your sister lost her keys."
    )
    assert render("I saw {who}.", fillers) == "I saw my sister."


def test_a_reply_that_names_what_was_not_said_is_refused():
    text = """
emotion: sad
shared:
  open: &a [x., x., x., x., x., x., x., x., x., x., x., x., x., x.]
  feel: *a
  close: *a
  direct: *a
  plain: *a
events:
- id: e
  slots: {who: $friend, pet: $pet}
  tell: &t ["{Who} left.", "a {who}", "b {who}", "c {who}", "d {who}"]
  turns: [{ask: [Why?], say: [maybe, sure], notice: [ok, fine]}]
  notice: ["Poor {pet}.", a, b, c, d]
  help: [a, b, c, d]
  direct: [a, b]
  plain: [a, b, c]
  situation: [s]
  feeling: f
  cause: c
  need: n
  next: x
"""
    with pytest.raises(ValueError, match=r"sad.yaml: e: slot \['pet'\] is not in every line"):
        parse(text, "sad.yaml")


def test_a_stray_reply_is_well_made_and_for_somebody_who_feels_something_else():
    items = list(curriculum_items(300))
    strays = [(i, r) for i in items for r in i.responses if r.strategy == "stray"]
    assert len(strays) > 0.9 * len(items)
    feeling = {i.response("improved").text: i.privileged.fields["emotion"] for i in items}
    known = [(i.privileged.fields["emotion"], feeling.get(r.text)) for i, r in strays]
    assert sum(theirs is not None for _, theirs in known) > 0.9 * len(known)
    assert all(mine != theirs for mine, theirs in known)
    assert all(r.rating == 1 for _, r in strays)


def test_a_loop_is_the_improved_reply_with_one_sentence_over_and_over():
    for item in curriculum_items(300):
        looped = item.response("loop").text
        sentences = re.findall(r"[^.!?]+[.!?]+", looped)
        assert len({s.strip() for s in sentences}) == len(sentences) - 2
        assert looped.endswith(item.response("improved").text.split(". ")[-1][-12:])
