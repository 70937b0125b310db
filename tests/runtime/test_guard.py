"""What the guard makes of single messages and of conversations."""

import json
import time
from importlib import resources

import pytest

from distill.core.errors import BadInput, MissingInput
from runtime import guard
from runtime.guard import Guard
from runtime.guarding.locales import locales
from runtime.guarding.policy import Policy, read_policy

DIRECT = [
    "I want to die.",
    "i wanna kill myself",
    "I'm going to kill myself tonight",
    "thinking about ending my life",
    "I am suicidal",
    "i feel suicidal",
    "I have suicidal thoughts",
    "I don't want to live anymore",
    "I don’t want to be alive any more",
    "i wish i was dead",
    "kms",
    "I tried to take my own life",
    "i keep cutting myself",
    "there is no reason to live",
    "I'm better off dead",
]
HARMLESS = [
    "this homework is killing me",
    "dying of laughter, send more",
    "I'd kill for a coffee",
    "my phone died again",
    "how do I kill a process that hangs?",
    "over my dead body will we sell the piano",
    "I lost my job today.",
    "hello",
    "thanks, goodbye",
    "My grandfather died last spring and I miss him.",
    "no, I don't want to die, I want a nap",
    "",
    " \n ",
    "😀",
    "\0",
]


@pytest.mark.parametrize("text", DIRECT)
def test_what_is_said_outright_always_fires(text):
    found = guard.check(text)
    assert found.fired and found.entry.id == "self"
    assert [resource.kind for resource in found.resources] == ["crisis", "emergency"]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_figure_of_speech_does_not_fire(text):
    found = guard.check(text)
    assert not found.fired and found.entry is None and found.resources == ()
    assert found.block == ""


def test_of_whom_is_spoken_decides_the_entry():
    cases = {
        "my brother says he wants to die": "other",
        "My sister cuts herself and I don't know what to do": "other",
        "my husband hit me again": "danger",
        "my stepdad beats me": "danger",
    }
    assert {text: guard.check(text).entry.id for text in cases} == cases


def test_what_a_film_a_game_or_the_past_says_does_not_fire_alone():
    for text in (
        "In the film the hero says he wants to die and then he opens a bakery",
        "my character in the game is going to kill himself with his own bomb, any tips?",
        "Ten years ago I wanted to die. Today I'm so glad I stayed, my garden is lovely.",
    ):
        assert not guard.check(text).fired, text


def test_a_sentence_in_a_long_message_is_not_drowned():
    chatter = "We had soup and the weather was fine all day long. " * 60
    assert guard.check(f"{chatter} I want to kill myself. {chatter}").fired
    assert not guard.check(chatter).fired


def test_case_apostrophes_and_contractions_do_not_matter():
    spellings = ["I DO NOT WANT TO LIVE", "i don`t wanna live", "I don’t want to liiiive"]
    assert all(guard.check(text).fired for text in spellings[:2])


def test_the_block_names_the_lines_of_its_locale():
    text = "I want to die"
    assert "988" in guard.check(text, locale="en-US").block
    assert "116 123" in guard.check(text, locale="en_gb").block
    plain = guard.check(text).block
    assert "988" not in plain and "116" not in plain and "findahelpline.com" in plain


@pytest.mark.parametrize("locale", sorted(locales()))
def test_every_locale_has_every_kind_of_help(locale):
    watching = Guard(locale=locale)
    for text in ("I want to die", "my brother says he wants to die", "my husband hit me again"):
        found = watching.check(text)
        assert found.locale == locale and len(found.resources) >= 2
        assert found.block.endswith("\n\n") and "\n\n" not in found.block[:-2]


def test_a_locale_that_is_not_known_is_refused_with_those_that_are():
    with pytest.raises(BadInput, match="'xx-YY'; choose one of default, en-US"):
        guard.check("hello", locale="xx-YY")


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


def test_the_newest_message_that_matters_is_the_one():
    watching = Guard()
    talk = [user("I want to die"), assistant("Oh."), user("my husband hit me again"), user("ok")]
    found = watching.check_conversation(talk)
    assert (found.message, found.assessment.entry.id, found.shown) == (2, "danger", True)
    assert found.report()["message"] == 2
    calm = watching.check_conversation([user("hello"), assistant("I want to die"), user("ok")])
    assert calm.report() == {"fired": False} and calm.block == ""


def test_a_message_that_was_answered_with_a_block_is_not_answered_with_another():
    watching = Guard(locale="en-US")
    first = watching.check_conversation([user("I want to die")])
    talk = [user("I want to die"), assistant(f"{first.block}I am here."), user("thank you")]
    second = watching.check_conversation(talk)
    assert second.assessment.fired and not second.shown and second.block == ""
    assert watching.without_blocks(talk)[1] == assistant("I am here.")
    again = watching.check_conversation([*talk, user("i still want to die")])
    assert again.shown and again.message == 3


def test_only_blocks_are_taken_out_of_a_conversation():
    watching = Guard()
    block = watching.check("I want to die").block
    talk = [user(block + "x"), assistant("Hm.\n\nYes."), {"role": "system", "content": block}]
    assert watching.without_blocks(talk) == talk
    assert watching.without_blocks([assistant(block)]) == [assistant("")]


def test_a_message_costs_less_than_two_milliseconds():
    watching = Guard()
    texts = [*DIRECT, *HARMLESS, "I went to the shop and then my sister called. " * 5]
    watching.check(texts[0])
    started = time.process_time()
    for text in texts:
        watching.check(text)
    assert (time.process_time() - started) / len(texts) < 0.002


def test_time_grows_with_length_alone():
    started = time.process_time()
    for text in ("a" * 200_000, "i want to " * 20_000, "(" * 200_000, "my my my " * 20_000):
        guard.check(text)
    assert time.process_time() - started < 20


GOOD = {
    "version": 1,
    "threshold": 0.5,
    "entries": {
        name: {"says": "x", "resources": ["crisis"], "alone": ["a"], "unless": ["b"]}
        for name in ("self", "other", "danger")
    },
    "words": {"kin": ["mum"]},
    "harmless": ["blue <kin>"],
    "signals": {"a": ["red (fox|dog*|) tonight"]},
    "contexts": {"b": ["in .. film"]},
}


def policy_file(folder, change):
    path = folder / "policy.yaml"
    path.write_text(change if isinstance(change, str) else json.dumps(GOOD | change))
    return path


def test_a_policy_of_ones_own_decides(tmp_path):
    path = policy_file(tmp_path, {})
    assert guard.check("The red dogs tonight!", policy=path).fired
    assert guard.check("red tonight", policy=path).fired
    assert not guard.check("red fox tonight, in a good film", policy=path).fired


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("threshold: [", "policy.yaml is not valid YAML"),
        ("a: &x 1\nb: *x", "not valid YAML"),
        ("just words", "the file"),
        ("\xff\xfe", "policy.yaml"),
        ({"version": 2}, "version"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold_of_words": 0}, "threshold_of_words"),
        ({"extra": 1}, "extra"),
        ({"entries": {}}, "there is no entry danger"),
        ({"signals": {"a": []}}, "signals.a"),
        ({"signals": {"a": [3]}}, "signals.a.0"),
        ({"signals": {"z": ["x"]}}, "names 'a', which is not there"),
        ({"signals": {"a": ["(x"]}}, "bracket"),
        ({"signals": {"a": ["x)"]}}, "bracket"),
        ({"signals": {"a": ["(x|)"]}}, "may match nothing"),
        ({"signals": {"a": [""]}}, "may match nothing"),
        ({"signals": {"a": ["x ["]}}, "which is no word"),
        ({"signals": {"a": ["<cats> x"]}}, "class that is not there"),
        ({"signals": {"a": ["x .."]}}, "begins or ends with a gap"),
        ({"signals": {"a": ["(" * 50 + "x" + ")" * 50]}}, "nested"),
        ({"signals": {"a": ["x " * 2000]}}, "longer than"),
    ],
)
def test_a_broken_policy_is_refused_with_the_place(tmp_path, change, said):
    with pytest.raises(BadInput) as caught:
        read_policy(policy_file(tmp_path, change))
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_policy_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingInput, match="no file"):
        read_policy(tmp_path / "none.yaml")


def test_the_bundled_policy_uses_every_list():
    policy: Policy = read_policy()
    assert set(policy.entries) == {"self", "other", "danger"}
    data = json.loads((resources.files("runtime.guarding") / "classifier.json").read_text())
    learned = {name[2:] for name in data["weights"] if name.startswith(("s:", "c:"))}
    alone = {name for entry in policy.entries.values() for name in entry.alone}
    assert set(policy.signals) <= learned | alone
