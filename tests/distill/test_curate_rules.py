"""Each rule of distill curate: what it refuses, and what it must let pass."""

import random
from collections import Counter

import pytest

from distill.core.errors import BadInput
from distill.curating import leaks, length, loops, meaning, refusing, repeats
from distill.curating.case import Settings
from distill.curating.mean_length import mean_of, to_refuse
from distill.curating.table import RULES, wanted_rules
from tests.distill.curating import case


def reason(rule, one, **settings):
    return rule.check(Settings(**settings))([one])[0]


def test_the_longest_that_is_allowed_passes_and_one_word_more_does_not():
    assert reason(length, case("so " * 97)) is None
    assert reason(length, case("so " * 98)) == "98 words, at most 97"
    assert reason(length, case("a b c"), max_words=2) == "3 words, at most 2"


@pytest.mark.parametrize(
    "text",
    [
        "As an AI, I cannot know how you feel.",
        "I\u2019m just an AI language model, but that hurts.".replace("AI language", "language"),
        "I don't have personal feelings, yet I hear you.",
        "I'm sorry, but I can't help with that.",
        "I am unable to provide medical advice.",
        "Here is a more empathetic version: That hurts.",
        "Improved response: That hurts.",
    ],
)
def test_a_model_that_declines_or_speaks_of_itself_is_refused(text):
    assert reason(refusing, case(text)).startswith("says ")


@pytest.mark.parametrize(
    "text",
    [
        "I can't imagine how that feels. I'm here.",
        "I'm sorry you could not get help. As a teacher you deserve better.",
        "I cannot help but smile with you! Here is to a new start.",
    ],
)
def test_what_only_sounds_like_a_refusal_passes(text):
    assert reason(refusing, case(text)) is None


def test_loops_are_refused_and_short_echoes_are_not():
    twice = "That must have been hard. I am with you. That must have been hard!"
    assert "'that must have been hard' 2 times" in reason(loops, case(twice))
    on_and_on = "you were so very brave and you were so very brave and you were so very kind"
    assert "'you were so very' 3 times" in reason(loops, case(on_and_on))
    assert reason(loops, case("Oh no! Oh no! I am so sorry, I am so sorry to hear it.")) is None


def test_a_privileged_word_leaks_unless_the_dialogue_or_anybody_says_it():
    told = {"situation": "Her horse broke a trellis in Ohio", "emotion": "devastated"}
    said = "Something terrible happened with my horses."
    text = "Your horse and the trellis in Ohio, how devastated you must be, what a terrible day."
    found = reason(leaks, case(text, said, privileged=told))
    assert found == "knows what the dialogue does not say: trellis, ohio"
    assert reason(leaks, case("Are your horses all right?", said, privileged=told)) is None
    assert reason(leaks, case(text, said)) is None
    codes = {"miti_human": "Trellis, Ohio"}
    assert reason(leaks, case(text, said, privileged=codes)) is None


def test_an_improvement_must_be_like_its_original():
    original = "I am sorry that your cat ran away. When did you last see it?"
    texts = [original, "Your cat ran away, I am so sorry. It must be hard.", "Wow, well done!"]
    check = meaning.check(Settings(texts=lambda limit: texts[:limit]))
    cases = [case(text, place=n, original=original) for n, text in enumerate(texts)]
    kept, also, changed = check([*cases])
    assert kept is None and also is None
    assert changed == "0.000 alike to d/first, at least 0.02"
    assert check([case("Wow, well done!")]) == [None]
    strict = meaning.check(Settings(min_similarity=0.99, texts=lambda limit: texts))
    assert strict(cases[:1]) == [None] and strict(cases[1:2])[0].endswith("at least 0.99")


def test_the_first_of_a_kind_stays_and_strategies_do_not_disturb_each_other():
    text = "I am so sorry about your cat, that must have been a terrible day for all of you."
    check = repeats.check(Settings(name_at=lambda place: f"number {place}"))
    first, again = case(text, place=0), case(text.upper() + "!", place=1)
    other = case(text, place=2, strategy="cognitive")
    assert check([first, again, other]) == [None, "says what number 0 says", None]
    assert check([case("Tell me more about it, please.", place=3)]) == [None]
    same = case(text, place=4, strategy="naive", original=text.replace("terrible day", "sad week"))
    assert check([same]) == [None]
    assert check([case(text, place=5, strategy="affective", original=text)]) == [
        "says what d/first says"
    ]


def test_the_mean_is_met_by_refusing_the_longest_and_no_more_than_it_takes():
    rng = random.Random(3)
    for _ in range(60):
        lengths = Counter(rng.choices(range(1, 60), k=rng.randint(1, 40)))
        asked = rng.choice((5.0, 20.0, 28.0))
        refused = to_refuse(lengths, asked)
        kept = lengths - Counter(refused)
        every = sorted(lengths.elements(), reverse=True)
        longest = sorted(Counter(refused).elements(), reverse=True)
        assert longest == every[: len(longest)]
        if kept:
            assert mean_of(kept) <= asked + 1e-9 or min(every) > asked
        if longest and kept:
            one_less = kept + Counter([longest[-1]])
            assert mean_of(one_less) > asked
    assert to_refuse({}, 28) == {} and mean_of({}) is None
    assert to_refuse({10: 5, 28: 3}, 28) == {}


def test_rules_are_chosen_by_name_and_run_in_the_order_of_the_table():
    assert wanted_rules(None) == list(RULES)
    assert wanted_rules("loop, length") == ["length", "loop"]
    for names in ("length,taste", "", ","):
        with pytest.raises(
            BadInput, match=r"there is no rule named .*; known are: length, refusal"
        ):
            wanted_rules(names)
