"""What calls cost."""

import re

import pytest

from distill.core.chat import Sampling
from distill.core.errors import BadInput
from distill.core.prices import (
    Price,
    cost_of,
    estimate,
    expected_tokens,
    listed,
    most_tokens,
    price_of,
    read_price,
)
from tests.distill.core.asks import reply

ASKED = [{"role": "user", "content": "für dich, mein Freund"}]


def test_every_listed_price_is_a_pair_with_the_month_it_was_looked_up():
    table = dict(listed())
    assert re.fullmatch(r"20\d\d-\d\d", table.pop("looked_up"))
    for models in table.values():
        assert all(0 < cheap < dear for cheap, dear in models.values())


@pytest.mark.parametrize(
    ("provider", "model", "price"),
    [
        ("openai", "gpt-4o", Price(2.5, 10)),
        ("openai", "gpt-4o-2024-08-06", Price(2.5, 10)),
        ("openai", "gpt-4o-mini", Price(0.15, 0.6)),
        ("gemini", "models/gemini-2.5-flash-001", Price(0.3, 2.5)),
        ("transformers", "runs/x/student@12", Price(0, 0)),
        ("scripted", "echo", Price(0, 0)),
        ("openai", "gpt-4o-audio", None),
        ("openai", "Qwen/Qwen3-32B", None),
    ],
)
def test_a_model_costs_what_the_list_says_and_nothing_is_guessed(provider, model, price):
    assert price_of(provider, model) == price


def test_a_batch_costs_half():
    price = Price(2.0, 8.0)
    assert price.cost(1e6, 1e6) == 10.0
    assert price.cost(1e6, 1e6, batch=True) == 5.0
    assert cost_of(ASKED, reply(tokens=5), price, batch=True) == (10 * 2 + 5 * 8) / 2e6


def test_tokens_that_a_service_did_not_count_are_estimated():
    uncounted = reply("four words of text", tokens=0)
    assert cost_of(ASKED, uncounted, Price(0.0, 1e6)) == 5
    assert cost_of(ASKED, uncounted, None) is None


def test_an_estimate_never_lies_above_its_worst_case():
    one = estimate(ASKED, Sampling(max_tokens=100), Price(1.0, 1.0))
    assert (one.input_tokens, one.output_tokens) == (expected_tokens(ASKED), 50)
    assert one.expected_usd < one.worst_usd == (most_tokens(ASKED) + 100) / 1e6
    assert estimate(ASKED, Sampling(), None).worst_usd is None


def test_a_price_is_read_from_two_numbers():
    assert read_price("0.5, 2") == Price(0.5, 2.0)


@pytest.mark.parametrize("text", ["1", "1,2,3", "a,b", "-1,2", "nan,1", "1,inf"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(BadInput, match="--price"):
        read_price(text)
