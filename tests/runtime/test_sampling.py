"""What shapes a reply: each parameter does what it says, on a real file."""

import json
import math

import numpy as np
import pytest

from distill.core.errors import BadInput
from runtime import load
from runtime.backends.llama_cpp_grammar import MAX_DEPTH, checked, grammar_of
from runtime.engine import Engine
from runtime.sampling import likeliest, log_probabilities
from tests.runtime.scripted import ScriptedBackend

HELLO = [{"role": "user", "content": "I lost my job today and I do not know what to do."}]
MOOD = {
    "type": "object",
    "properties": {"mood": {"enum": ["sad", "glad"]}, "sure": {"type": "boolean"}},
    "required": ["mood", "sure"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(tiny_gguf):
    with load(tiny_gguf, threads=1, context=512) as opened:
        yield opened


def tokens_of(engine, **options):
    """Tokens, text and choices of one reply."""
    pieces = list(engine.chat(HELLO, **({"max_tokens": 30, "logprobs": 0} | options)))
    choices = [choice for piece in pieces for choice in piece.choices]
    text = "".join(piece.text for piece in pieces)
    return [choice.chosen.token for choice in choices], text, choices


def test_each_token_comes_with_its_bytes_and_the_chance_that_it_had(engine):
    tokens, text, choices = tokens_of(engine, temperature=0, logprobs=5)
    assert len(tokens) == 30
    assert b"".join(choice.chosen.data for choice in choices).decode("utf-8", "replace") == text
    for choice in choices:
        chances = [chance.logprob for chance in choice.likeliest]
        assert choice.chosen == choice.likeliest[0]
        assert chances == sorted(chances, reverse=True)
        assert 0 < sum(map(math.exp, chances)) <= 1


def test_log_probabilities_and_the_likeliest_are_those_of_the_obvious_formula():
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32) * 5
    chances = [math.log(math.exp(x) / sum(map(math.exp, logits))) for x in map(float, logits)]
    assert log_probabilities(logits, range(50)) == pytest.approx(chances)
    best = sorted(range(50), key=lambda token: -logits[token])
    for count in (0, 1, 7, 50, 80):
        assert likeliest(logits, count) == best[:count]


def test_log_probabilities_are_the_models_own_whatever_was_sampled(engine):
    plain, _, at_zero = tokens_of(engine, temperature=0, max_tokens=1, logprobs=2)
    other = at_zero[0].likeliest[1].token
    biased, _, choices = tokens_of(
        engine, temperature=0, max_tokens=1, logit_bias={plain[0]: -100}, logprobs=2
    )
    assert biased == [other]
    assert choices[0].chosen.logprob == pytest.approx(at_zero[0].likeliest[1].logprob)


def test_a_bias_of_100_leaves_no_other_token(engine):
    token = engine.backend.encode(" yes")[0]
    assert set(tokens_of(engine, logit_bias={token: 100}, seed=1)[0]) == {token}


def test_penalties_for_use_keep_a_reply_from_repeating_itself(engine):
    def repeats(**options):
        tokens = tokens_of(engine, temperature=0, max_tokens=60, **options)[0]
        return len(tokens) - len(set(tokens))

    plain = repeats(repetition_penalty=1.0)
    assert plain > 0
    for name in ("presence_penalty", "frequency_penalty"):
        assert repeats(repetition_penalty=1.0, **{name: 2.0}) < plain


def test_the_same_seed_gives_the_same_reply_beside_others(engine):
    alone = tokens_of(engine, seed=5)[0]
    others = [engine.chat(HELLO, seed=seed, max_tokens=30) for seed in (6, 7, 8)]
    for other in others:
        other.begin()
    assert tokens_of(engine, seed=5)[0] == alone


def test_a_grammar_binds_the_text(engine):
    grammar = 'root ::= ("yes" | "no") ", " [a-c]{3} "."'
    for seed in range(3):
        text = tokens_of(engine, grammar=grammar, seed=seed)[1]
        assert text.startswith(("yes, ", "no, "))
        assert set(text.split(", ")[1][:3]) <= set("abc")
        assert text.endswith(".")


@pytest.mark.parametrize("form", [MOOD, json.dumps(MOOD)])
def test_a_reply_by_a_schema_is_json_that_fits(engine, form):
    reply = engine.chat(HELLO, json_schema=form, seed=3, max_tokens=200)
    found = json.loads("".join(piece.text for piece in reply))
    assert reply.finish_reason == "stop"
    assert found["mood"] in ("sad", "glad")
    assert isinstance(found["sure"], bool)


def test_a_grammar_that_no_token_can_follow_ends_the_reply(engine):
    text = tokens_of(engine, grammar='root ::= "a" "\\x00"')[1]
    assert text == "a"


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("", "no rule named root"),
        ("a ::= b", "no rule named root"),
        ("root ::= a", "the rule a is not defined"),
        ('"a"', "before the first rule"),
        ('root ::= "a', "is no GBNF"),
        ("root ::= [a", "is no GBNF"),
        ('root ::= ("a"', "ends inside a parenthesis"),
        ('root ::= ("a"\nb ::= "c"', "line 2: a parenthesis is not closed"),
        ('root ::= "a")', "closed that was not opened"),
        ('root ::= "a"\nroot ::= "b"', "line 2: the rule root is defined twice"),
        ("root ::= *", "repeats nothing"),
        ('root ::= "a"{1000000}', "more than 1000 times"),
        ('root ::= "a"{3,2}', "ends before it begins"),
        (f"root ::= {'(' * (MAX_DEPTH + 1)}", "nested more than"),
        ("root ::= root", "a rule that begins itself"),
        ("root ::= " + '"a" ' * 10_000, "at most 32768"),
        ('root ::= "\ud800"', "half a surrogate pair"),
        ('root ::= "a\x00b"', "holds a zero byte"),
    ],
)
def test_a_grammar_that_native_code_might_not_survive_is_refused(engine, grammar, message):
    with pytest.raises(BadInput, match=message):
        engine.chat(HELLO, grammar=grammar)


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("{", "cannot be used: JSONDecodeError"),
        ("[]", "is no object"),
        ('{"$ref": "https://example.org/x"}', "cannot be used: AssertionError"),
        ('{"$ref": "#/nothing"}', "cannot be used"),
        ('{"type": "flower"}', "cannot be used"),
        ('{"type": "string", "minLength": 1000000000}', "has minLength 1000000000; at most 1000"),
        ('{"items": [{"type": "array", "maxItems": 1e9}]}', "has maxItems 1000000000.0"),
        ('{"type": "string", "pattern": "^((a{999}){999})$"}', "a pattern that repeats more"),
        ('{"type": "string", "pattern": "^a{1,999999999999}$"}', "a pattern that repeats more"),
        ("{" + '"a": 1,' * 5000 + '"b": 1}', "at most 32768"),
        ('{"a":' * 3000 + "{}" + "}" * 3000, "RecursionError"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(engine, schema, message):
    with pytest.raises(BadInput, match=message):
        engine.chat(HELLO, json_schema=schema)


def test_what_is_well_formed_is_left_as_it_is():
    for schema in (MOOD, {"type": "array", "items": {"type": "integer"}, "maxItems": 3}, {}):
        assert "root ::=" in grammar_of(json.dumps(schema))
    text = '# comment\nroot ::= ( a | [^"\\n] . )* "\\u00e9"{1,}\n\na ::=\n  "b"? "\\""'
    assert checked(text) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"presence_penalty": 3.0}, "presence_penalty is 3.0; it must be between -2 and 2"),
        ({"frequency_penalty": float("nan")}, "frequency_penalty is nan"),
        ({"repetition_penalty": 1e-60}, "repetition_penalty is 1e-60; it must be between 0.01 and"),
        ({"repetition_penalty": float("nan")}, "repetition_penalty is nan"),
        ({"logit_bias": {-1: 1.0}}, "logit_bias names token -1; this file has tokens 0 to 258"),
        ({"logit_bias": {3: 101.0}}, "logit_bias of token 3 is 101.0"),
        ({"logit_bias": {3: float("nan")}}, "logit_bias of token 3 is nan"),
        ({"logprobs": 21}, "logprobs is 21; it must be between 0 and 20"),
        ({"top_k": 2**31}, "top_k is 2147483648"),
        ({"grammar": "x", "json_schema": "{}"}, "a grammar and a JSON schema are given"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    with pytest.raises(BadInput, match=message):
        Engine("scripted", ScriptedBackend(b"x")).chat(
            [{"role": "user", "content": "x"}], **options
        )
