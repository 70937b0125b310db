"""Many candidates, panels, lengths and simulated judges: the statistics beside a win rate."""

import numpy as np
import pytest

from eval.length_control import length_controlled
from eval.panel import agreement, fleiss, panel_outcomes
from eval.statistics import Tally, detectable, finding, sign_test, win_rate_interval
from eval.strengths import strengths
from tests.benchmarks.interval_coverage import INTERVALS, coverage


def judged(rng, pairs, chance, decided=0.7):
    wins, losses, _ = rng.multinomial(
        pairs, [decided * chance, decided * (1 - chance), 1 - decided]
    )
    return Tally(wins=int(wins), losses=int(losses), ties=int(pairs - wins - losses))


@pytest.mark.parametrize("chance", [0.5, 0.7, 0.9])
def test_the_interval_covers_the_truth_as_often_as_it_says(chance):
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(1500):
        interval = win_rate_interval(judged(rng, 100, chance))
        inside += interval.low <= chance <= interval.high
    assert 0.935 <= inside / 1500 <= 0.965


@pytest.mark.parametrize(("pairs", "chance"), [(20, 0.5), (20, 0.9), (50, 0.75), (50, 0.9)])
def test_few_pairs_are_covered_too(pairs, chance):
    """Summed over every ending that can be, so nothing is left to the draw."""
    held = coverage(pairs, chance, INTERVALS["Wilson (ours)"])
    assert 0.94 <= held <= 0.96
    assert coverage(pairs, chance, INTERVALS["percentile"]) <= held


def test_equal_candidates_are_not_told_apart():
    rng = np.random.default_rng(4)
    found = [judged(rng, 200, 0.5) for _ in range(200)]
    told = [finding(counts, win_rate_interval(counts)) for counts in found]
    assert told.count("not distinguishable") / len(told) >= 0.94


def test_a_difference_that_is_detectable_is_found_four_times_in_five():
    rng = np.random.default_rng(5)
    chance = detectable(140)
    found = [judged(rng, 200, chance) for _ in range(400)]
    told = [finding(counts, win_rate_interval(counts)) for counts in found]
    assert 0.7 <= told.count("better") / 400 <= 0.9 and "worse" not in told


def test_what_is_said_of_one_is_mirrored_for_the_other():
    assert finding(Tally(wins=40, losses=10), win_rate_interval(Tally(wins=40, losses=10))) == (
        "better"
    )
    mirrored = Tally(wins=10, losses=40)
    assert finding(mirrored, win_rate_interval(mirrored)) == "worse"
    assert finding(Tally(ties=9), None) == "not distinguishable"
    assert sign_test(Tally(wins=5, losses=0)) == pytest.approx(2 / 32)
    assert sign_test(Tally()) is None and detectable(0) is None


def test_a_rate_that_length_alone_explains_is_one_half_at_equal_length():
    rng = np.random.default_rng(6)
    longer_by = rng.normal(15, 20, 800)
    won = (rng.random(800) < 1 / (1 + np.exp(-longer_by / 12))).astype(float)
    found = length_controlled(won, longer_by, 0)
    assert won.mean() > 0.65 and abs(found.rate - 0.5) < 0.06 and found.slope > 1
    assert found.low < 0.5 < found.high


def test_a_rate_that_length_does_not_explain_is_left_as_it_is():
    rng = np.random.default_rng(7)
    won = (rng.random(800) < 0.75).astype(float)
    found = length_controlled(won, rng.normal(0, 20, 800), 0)
    assert found.rate == pytest.approx(won.mean(), abs=0.01)


def test_the_length_controlled_rate_is_mirrored_and_survives_a_clean_sweep():
    rng = np.random.default_rng(8)
    longer_by = rng.normal(5, 10, 60)
    won = (rng.random(60) < 0.6).astype(float)
    there, back = length_controlled(won, longer_by, 0), length_controlled(1 - won, -longer_by, 0)
    assert there.rate + back.rate == pytest.approx(1, abs=1e-9)
    sweep = length_controlled(np.ones(30), np.full(30, 7.0), 0)
    assert 0.9 < sweep.rate < 1 and np.isfinite(sweep.slope)
    assert length_controlled(np.ones(9), np.ones(9), 0) is None


def test_strengths_are_those_that_made_the_games():
    rng = np.random.default_rng(9)
    truth = np.array([1.0, 0.0, -1.0])
    wins = np.zeros((600, 3, 3))
    for d in range(600):
        for a, b in ((0, 1), (0, 2), (1, 2)):
            first = rng.random() < 1 / (1 + np.exp(truth[b] - truth[a]))
            wins[d, a, b], wins[d, b, a] = first, not first
    found = strengths(["a", "b", "c"], wins, 0)
    for one, value in zip(found, truth, strict=True):
        assert one.low < value < one.high and abs(one.log_odds - value) < 0.15
    assert sum(one.log_odds for one in found) == pytest.approx(0, abs=1e-6)
    assert found[0].chance > found[1].chance > found[2].chance


def test_a_candidate_that_never_lost_has_a_finite_strength():
    wins = np.zeros((20, 2, 2))
    wins[:, 0, 1] = 1
    found = strengths(["a", "b"], wins, 0)
    assert 1 < found[0].log_odds < 5 and found[0].chance < 1


def test_the_majority_of_a_panel_counts_and_a_pair_without_one_is_split():
    by_judge = {
        "x": {"d0": "win", "d1": "win", "d2": "win", "d3": "unreadable"},
        "y": {"d0": "win", "d1": "loss", "d2": "tie", "d3": "win"},
        "z": {"d0": "loss", "d1": "loss", "d2": "flip", "d3": "win"},
    }
    assert panel_outcomes(by_judge) == {"d0": "win", "d1": "loss", "d2": "split", "d3": "win"}
    told = agreement(by_judge)
    assert told["pairs"] == 3 and set(told["cohen_kappa"]) == {"x and y", "x and z", "y and z"}


def test_fleiss_kappa_is_that_of_its_paper():
    """The worked example of Fleiss (1971) as reprinted: 10 subjects, 14 raters, 5 categories."""
    counts = [
        (0, 0, 0, 0, 14), (0, 2, 6, 4, 2), (0, 0, 3, 5, 6), (0, 3, 9, 2, 0), (2, 2, 8, 1, 1),
        (7, 7, 0, 0, 0), (3, 2, 6, 3, 0), (2, 5, 3, 2, 2), (6, 5, 2, 1, 0), (0, 2, 2, 3, 7),
    ]  # fmt: skip
    rows = [
        [name for name, n in zip("abcde", row, strict=True) for _ in range(n)] for row in counts
    ]
    assert fleiss(rows) == pytest.approx(0.210, abs=5e-4)
    assert fleiss([["a", "a"], ["a", "a"]]) is None
