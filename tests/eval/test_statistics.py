"""Counts, rates and intervals, against the slow obvious way."""

import random

import numpy as np
import pytest

from distill.core.records import Verdict
from eval.statistics import (
    Tally,
    bootstrap,
    outcome_of,
    share_interval,
    tally,
    wilson,
    win_rate_interval,
)


def verdicts(straight, swapped):
    return Verdict(side=straight), Verdict(side=swapped)


@pytest.mark.parametrize(
    ("straight", "swapped", "outcome"),
    [
        ("first", "second", "win"),
        ("second", "first", "loss"),
        ("tie", "tie", "tie"),
        ("first", "first", "flip"),
        ("second", "second", "flip"),
        ("first", "tie", "flip"),
        ("tie", "first", "flip"),
        ("unreadable", "second", "unreadable"),
        ("first", "unreadable", "unreadable"),
    ],
)
def test_a_pair_is_won_only_when_the_verdict_survives_the_swap(straight, swapped, outcome):
    assert outcome_of(*verdicts(straight, swapped)) == outcome


def test_a_missing_verdict_is_a_failed_pair():
    assert outcome_of(None, Verdict(side="first")) == "failed"


def test_only_decided_pairs_are_in_the_rate():
    counts = tally(["win"] * 3 + ["loss"] + ["tie"] * 5 + ["flip", "unreadable", "failed"])
    assert (counts.win_rate, counts.decided, counts.pairs) == (0.75, 4, 12)


def test_an_empty_tally_has_no_rate_and_no_interval():
    for counts in (Tally(), Tally(ties=3, flips=2)):
        assert counts.win_rate is None and win_rate_interval(counts) is None


def test_the_interval_is_near_that_of_a_loop_over_dialogues():
    outcomes = ["win"] * 30 + ["loss"] * 12 + ["tie"] * 18
    rng = random.Random(1)
    rates = sorted(
        drawn.count("win") / (drawn.count("win") + drawn.count("loss"))
        for drawn in (rng.choices(outcomes, k=60) for _ in range(4000))
    )
    interval = win_rate_interval(tally(outcomes))
    assert interval.method == "wilson"
    assert interval.low == pytest.approx(rates[100], abs=0.03)
    assert interval.high == pytest.approx(rates[3900], abs=0.03)


def test_the_share_repeats_with_its_seed():
    counts = Tally(wins=7, losses=4, ties=2)
    assert share_interval(counts, 3) == share_interval(counts, 3) != share_interval(counts, 4)


def test_a_clean_sweep_is_not_certainty():
    interval = win_rate_interval(Tally(wins=10))
    assert interval.method == "wilson" and interval.high == pytest.approx(1.0)
    assert interval.low == pytest.approx(0.7225, abs=1e-4)
    assert wilson(0, 10).high == pytest.approx(1 - 0.7225, abs=1e-4)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    rng = random.Random(7)
    inside = 0
    for _ in range(200):
        wins = sum(rng.random() < 0.7 for _ in range(100))
        interval = win_rate_interval(Tally(wins=wins, losses=100 - wins))
        inside += interval.low <= 0.7 <= interval.high
    assert 0.90 <= inside / 200 <= 0.99


def test_an_even_pair_is_half_a_win_for_either_side():
    counts = tally(["win"] * 5 + ["loss"] * 2 + ["tie"] * 2 + ["flip", "unreadable", "failed"])
    mirrored = Tally(wins=2, losses=5, ties=2, flips=1)
    assert counts.share == 0.65 and counts.share + mirrored.share == 1
    assert Tally(unreadable=3).share is None and share_interval(Tally(failed=1), 0) is None


def test_a_judge_that_always_flips_says_one_half_and_little_doubt():
    interval = share_interval(Tally(flips=40), 0)
    assert interval.low == pytest.approx(0.475, abs=0.01)
    assert interval.low + interval.high == pytest.approx(1, abs=0.005)
    assert share_interval(Tally(wins=7, losses=4), 1) == wilson(7, 11)


def test_the_bootstrap_of_a_mean_is_as_wide_as_its_standard_error():
    values = np.random.default_rng(1).normal(size=60)
    interval = bootstrap(60, lambda numbers: float(values[numbers].mean()), 0)
    error = 1.96 * values.std() / 60**0.5
    assert interval.low == pytest.approx(values.mean() - error, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + error, abs=0.03)


def test_the_bootstrap_leans_where_the_values_do_and_needs_two():
    values = np.random.default_rng(2).exponential(size=20)
    interval = bootstrap(20, lambda numbers: float(values[numbers].mean()), 0)
    assert interval.high - values.mean() > 1.2 * (values.mean() - interval.low)
    assert bootstrap(1, lambda numbers: 1.0, 0) is None
    same = bootstrap(5, lambda numbers: 3.0, 0)
    assert (same.low, same.high) == (3.0, 3.0)
