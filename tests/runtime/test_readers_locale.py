"""Help lines of a reader's own country, by the language that a browser asks for."""

import pytest
from starlette.testclient import TestClient

from runtime.engine import Engine
from runtime.guard import Guard
from runtime.guarding.languages import first_of, speaking
from runtime.limits import Limits
from runtime.server import application
from tests.runtime.scripted import ScriptedBackend

CRISIS = [{"role": "user", "content": "I want to die"}]


@pytest.mark.parametrize(
    ("languages", "locale"),
    [
        ("en-GB,en;q=0.9", "en-GB"),
        ("de-de", "de-DE"),
        ("en;q=0.5, fr-FR;q=0.9", "fr-FR"),
        ("de,en-US;q=0.7,en;q=0.3", "default"),
        ("de-AT,de-DE;q=0.8", "default"),
        ("en-US;q=high,en-GB", "en-GB"),
        ("*", "default"),
        ("", "default"),
        (";;,=,q=", "default"),
    ],
)
def test_only_the_first_language_chooses_and_only_a_known_country(languages, locale):
    assert speaking(Guard(), languages).locale == locale


def test_the_guard_of_the_others_stays_as_it_was():
    guard = Guard()
    british = speaking(guard, "en-GB")
    assert "116 123" in british.check("I want to die").block
    assert guard.locale == "default" and "116 123" not in guard.check("I want to die").block
    assert first_of("en-GB") == "en-GB"


def answered(by_language, **headers):
    """Whose help lines a server names to a browser."""
    engine = Engine("calm", ScriptedBackend(b"I hear you. ", context=256))
    app = application(
        engine, host="127.0.0.1", guard=Guard(), by_language=by_language, limits=Limits()
    )
    body = {"model": "calm", "messages": CRISIS, "max_tokens": 4}
    with TestClient(app, base_url="http://127.0.0.1") as client:
        told = client.post("/v1/chat/completions", json=body, headers=headers).json()
    return told["kindred"]["guard"]["locale"], told["choices"][0]["message"]["content"]


def test_a_server_follows_the_readers_language_only_when_it_was_told_to():
    locale, text = answered(True, **{"accept-language": "en-GB,en;q=0.9"})
    assert locale == "en-GB" and "116 123" in text
    assert answered(True)[0] == "default"
    assert answered(False, **{"accept-language": "en-GB"})[0] == "default"
