"""Figures as text: never rounded into a claim."""

import pytest

from eval.pages.wording import brief, count, percent, plain, rate, seconds, size


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (None, "not measured"),
        (0, "0 %"),
        (0.0004, "< 0.1 %"),
        (0.004, "0.4 %"),
        (0.9249, "92 %"),
        (0.997, "99.7 %"),
        (0.99996, "> 99.9 %"),
        (1, "100 %"),
    ],
)
def test_a_share_is_never_rounded_to_all_or_nothing(share, said):
    assert percent(share) == said


def test_times_sizes_and_rates_carry_their_units():
    assert [seconds(x) for x in (None, 0.0042, 0.034, 2.5, 61.2)] == [
        "not measured",
        "4.2 ms",
        "34 ms",
        "2.50 s",
        "61 s",
    ]
    assert [size(x) for x in (None, 12, 1200, 6_900_000, 2.5e9)] == [
        "not measured",
        "12 bytes",
        "1.2 kB",
        "6.9 MB",
        "2.50 GB",
    ]
    assert [rate(x) for x in (None, 8.04, 1008.2)] == [
        "not measured",
        "8.0 tokens/s",
        "1,008 tokens/s",
    ]


def test_counts_and_short_numbers_read_as_people_write_them():
    assert [count(1, "decided pair"), count(2, "reply")] == ["1 decided pair", "2 replies"]
    assert [brief(x) for x in (0.5, 22.31, 1270.4)] == ["0.5", "22.3", "1,270"]


def test_values_of_an_unknown_kind_are_shown_without_marks():
    assert plain({"a": 1.5, "b": None, "c": [True, 12000]}) == "a 1.5, b none, c yes, 12,000"
    assert [plain([]), plain({})] == ["none", "none"]
