"""What a stand-in says to requests of each form."""

import json

from distill.dev.answers import Asked, answer


def said(text, digest="d", **more):
    return answer(Asked("m", [text], digest, **more))


def test_the_text_depends_on_the_request_alone():
    assert said("hi", "a") == said("hi", "a")
    assert len({said("hi", f"d{number}") for number in range(50)}) > 30


def test_json_has_the_keys_that_are_shown():
    found = said(
        'Give one JSON object:\n\n{"because": "why", "weakest": "one", "score": 1}\n<a>"b": c'
    )
    value = json.loads(found)
    assert list(value) == ["because", "weakest", "score"]
    assert value["weakest"] in ("cognitive", "affective", "compassionate")
    assert value["score"] in (1, 2, 3)


def test_json_has_the_keys_that_are_named():
    assert list(json.loads(said('Answer in JSON with "feeling" and "cause". Not "this".'))) == [
        "feeling",
        "cause",
    ]


def test_json_follows_a_schema():
    form = {"type": "object", "properties": {"need": {"type": "string"}, "n": {"type": "integer"}}}
    value = json.loads(said("hi", schema=form))
    assert isinstance(value["need"], str) and isinstance(value["n"], int)


def test_an_improved_reply_keeps_the_one_that_was_shown():
    assert said("Improve it.\n<reply>\nI am sorry.\n</reply>").startswith("I am sorry. ")


def test_a_verdict_survives_the_swap():
    def judged(first, second):
        shown = f"CODE: ab1\n<first-ab1>\n{first}\n</first-ab1>\n<second-ab1>\n{second}\n"
        return said(f"{shown}</second-ab1>\nYour last line begins: Verdict ab1:").splitlines()[-1]

    sides = {judged("one", "two"), judged("two", "one")}
    assert sides == {"Verdict ab1: first", "Verdict ab1: second"}
    assert judged("one", "one") == "Verdict ab1: tie"
