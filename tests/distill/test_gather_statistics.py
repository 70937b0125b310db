"""distill gather --stats: the paper's analysis, for people and for programs."""

import pytest

from distill.corpora.lengths import distribution
from distill.corpora.reading import Request
from distill.corpora.statistics import analyse
from distill.gather import gather
from tests.distill.command_line import distill, outcome
from tests.distill.raw_corpora import MITI_RESPONDERS, rated_csv, rated_row

RATINGS = [(1, 3, 3, 1, 2), (2, 2, 1, 2, 3), (3, 1, 1, 1, 1), (3, 3, 3, 3, 3)]


@pytest.fixture
def rated(tmp_path):
    rows = [rated_row(number, ratings) for number, ratings in enumerate(RATINGS)]
    return rated_csv(tmp_path / "human_4llm_ratings.csv", rows)


def test_ratings_are_counted_per_responder_and_against_the_human(rated):
    found = outcome("gather", f"rated-responses={rated}", "--stats")["stats"]
    assert found["responders"]["chatgpt"]["ratings"] == {"1": 1, "2": 1, "3": 2}
    assert found["responders"]["human"]["mean_rating"] == 2.25
    against = found["human_against"]["chatgpt"]
    assert [against[side] for side in ("better", "equal", "worse")] == [1, 2, 1]
    assert against["table"]["1"] == {"1": 0, "2": 0, "3": 1}
    assert found["fewer_than_two_good"] == {"dialogues": 2, "of": 4, "responders": 5}
    assert found["splits"]["test"] == 2
    assert found["emotions"] == {"proud": 2, "lonely": 2}
    assert found["user_words"]["count"] == 4


def test_people_see_tables_and_without_out_nothing_is_written(rated, tmp_path):
    before = sorted(tmp_path.iterdir())
    shown = distill("gather", f"rated-responses={rated}", "--stats")
    assert shown.returncode == 0, shown.stderr
    for part in (
        "4 dialogues (train", "Ratings", "The human's rating is", "mixtral", "Emotions", "proud 2",
        "dialogues with fewer than two of 5 responses rated good: 2 of 4",
    ):  # fmt: skip
        assert part in shown.stdout
    assert sorted(tmp_path.iterdir()) == before


def test_the_naive_responder_of_the_second_file_does_not_change_the_papers_count(rated):
    rows = [rated_row(number, (2, 3, 3), MITI_RESPONDERS) for number in range(4)]
    rated_csv(rated.with_name("human_gpt4_ratings_miti.csv"), rows)
    found = analyse(gather([f"rated-responses={rated.parent}"]).everything)
    assert "chatgpt-naive" in found["human_against"]
    assert found["fewer_than_two_good"] == {"dialogues": 2, "of": 4, "responders": 5}


def test_an_author_with_several_strategies_is_told_apart_and_no_human_is_made_up():
    found = analyse(gather(["starter"], Request(parts="a")).everything)
    assert list(found["responders"]) == ["starter plain", "starter direct", "starter improved"]
    assert found["human_against"] == {}
    assert found["fewer_than_two_good"] == {"dialogues": 0, "of": 0, "responders": 0}


def test_a_distribution_of_nothing_has_a_count_only():
    assert distribution([]) == {"count": 0}
    assert distribution(range(101)) == {
        "count": 101, "mean": 50, "min": 0, "p5": 5, "median": 50, "p95": 95, "max": 100
    }  # fmt: skip
