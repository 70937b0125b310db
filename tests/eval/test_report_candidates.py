"""Several candidates on one page: ranking, measures, panels, and the verdicts to read."""

import pytest

from distill.core.errors import BadInput, CheckFailed
from distill.core.jsonl import digest_text, read_json, write_json
from eval.pages.comparison import comparison
from eval.pages.evidence import read_evidence
from eval.pages.joining import refuse_foreign
from eval.pages.judged import Verdicts
from eval.pages.lengths import length_table
from eval.pages.markdown import markdown
from eval.pages.measured import measured
from eval.pages.ranking import ranking
from eval.pages.samples import dialogues, doubts
from eval.pages.speed import speed_section
from eval.report import build
from eval.statistics import tally
from tests.eval.crowd import Crowd
from tests.eval.run_folder import RunFolder

OTHER = digest_text("another file")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Crowd(tmp_path_factory.mktemp("crowd") / "run", 60, ("one-step",)).write_everything()


@pytest.fixture(scope="module")
def found(made):
    return read_evidence(made.path)


@pytest.fixture
def small(tmp_path):
    return Crowd(tmp_path / "run", 6, ("one-step",)).write_everything()


def test_every_couple_is_told_with_its_reason_and_ranked(found):
    shown = ranking(found)
    assert len(shown.beside) == 3 and all("decided pair" in said for said in shown.beside)
    tables = {table.caption: table for table in shown.tables}
    matrix = tables["Wins of the row against the column"]
    assert matrix.columns == ("candidate", "base", "one-step", "student")
    shares = {row[0]: row[1:] for row in matrix.rows}
    one, other = shares["base"][2], shares["student"][0]
    assert int(one.split()[0]) + int(other.split()[0]) in (99, 100, 101)
    strongest = tables["Strengths (Bradley and Terry)"].rows[0][0]
    assert strongest in shown.figures[0].description.split(";")[0]


def test_the_ranking_is_absent_only_where_there_is_somebody_to_rank(small, tmp_path):
    (small.path / "compared/comparison.json").unlink()
    assert "distill eval compare" in ranking(read_evidence(small.path)).absent
    two = RunFolder(tmp_path / "two", [("Hi.", "Hello.", "Ho.")]).write_all()
    assert ranking(read_evidence(two.path)) is None


def test_a_panel_is_shown_judge_by_judge_with_its_agreement(found):
    captions = [table.caption for table in comparison(found).tables]
    assert "Each judge alone" in captions and "Agreement of the judges on 60 pairs" in captions
    [counts] = [t for t in comparison(found).tables if t.caption == "Counts"]
    assert "split" in [row[0] for row in counts.rows]


def test_what_weighs_a_rate_stands_beside_it(found):
    [table] = [t for t in comparison(found).tables if t.caption == "What to weigh the rate with"]
    rows = {row[0]: row[1:] for row in table.rows}
    result = found.winrate
    assert rows["at equal length"][0].endswith(" %")
    assert rows["ties and flips as halves"][0] == f"{round(result['share'] * 100)} %"
    assert rows["smallest rate to be seen"][0].endswith(" %")
    assert rows["sign test"][0].startswith("p ")


def test_verdicts_on_the_page_are_those_in_the_rate(found):
    verdicts = Verdicts(found)
    outcomes = [verdicts.outcome(verdicts.on(name)) for name in found.dialogues]
    counts = tally(outcomes)
    assert (counts.wins, counts.flips) == (found.winrate["wins"], found.winrate["flips"])
    assert counts.split == found.winrate["split"] > 0


def test_flips_disputes_and_losses_are_to_be_read_with_what_the_judges_said(found):
    shown = doubts(found)
    said = " ".join(shown.beside)
    for what in ("changed with the order", "split the judges", "went to base"):
        assert f"pairs {what}" in said
    assert 5 <= len(shown.samples) <= 15
    notes = [note for sample in shown.samples for note in sample.notes]
    assert len(notes) == 4 * len(shown.samples)
    assert any("student shown first: base (" in note for note in notes)
    assert "- judge-0.06, student shown first: " in markdown(build(found))


def test_every_candidate_replies_in_the_samples_and_has_a_column(found):
    shown = dialogues(found).samples
    assert len(shown) == 20
    assert [r.candidate for r in shown[0].replies] == ["student", "base", "one-step"]
    assert length_table(found)[0].columns == ("figure", "student", "base", "one-step")


def test_measures_say_what_they_are_not_and_what_is_missing(found):
    tables = {table.caption: table for table in measured(found).tables}
    figures = tables["Figures with 95 % intervals"]
    assert figures.columns == ("measure", "student", "base", "one-step")
    assert figures.rows[0][:2] == ("distinct 1, share", "0.210 (0.190 to 0.240)")
    assert figures.rows[1][1] == "not measured"
    assert tables["What they mean"].rows[1][2] == "a measure of empathy"
    assert list(tables["Not measured"].rows) == [("perplexity", "no --student was given")]


def test_measures_and_comparisons_of_other_answers_are_refused(small):
    small.change_measures("one-step", answers_sha256=OTHER)
    with pytest.raises(CheckFailed, match=r"measures/one-step.json is about other answers"):
        refuse_foreign(read_evidence(small.path))
    small.write_measures("one-step")
    path = small.path / "compared/comparison.json"
    held = read_json(path)
    held["couples"][0]["candidates"]["base"]["answers_sha256"] = None
    write_json(path, held)
    with pytest.raises(CheckFailed, match="it states no sha256"):
        refuse_foreign(read_evidence(small.path))


def test_a_comparison_of_another_file_of_the_student_is_refused(small):
    path = small.path / "compared/comparison.json"
    held = read_json(path)
    for couple in held["couples"]:
        if "student" in couple["candidates"]:
            couple["candidates"]["student"]["artifact_sha256"] = OTHER
    write_json(path, held)
    with pytest.raises(CheckFailed, match=r"comparison.json does not belong to"):
        refuse_foreign(read_evidence(small.path))


def test_measures_that_are_no_object_are_refused(small):
    write_json(small.path / "measures/base.json", [])
    with pytest.raises(BadInput, match="holds no JSON object"):
        read_evidence(small.path)


def test_latency_is_shown_by_length_with_its_split_memory_and_without_energy(small):
    shown = speed_section(read_evidence(small.path))
    tables = {table.caption: dict(t[:2] for t in table.rows) for table in shown.tables}
    first = tables["One reply to a dialogue after another"]
    assert first["energy"].startswith("not reported: ")
    assert first["first token, median"] == "34 ms (32 to 36)"
    assert tables["Memory and start"]["private, at its peak"] == "63.1 MB"
    assert len(shown.figures) == 5
    assert "2 threads: 31.9 at 32" in shown.figures[0].description


def test_a_profile_and_a_browser_are_shown_where_they_were_measured(small):
    rows = [{"throttle": 4, "cold_first_token_s": 5.2, "tokens_per_s": 41.0, "download_bytes": 9e6}]
    small.change_latency(profile="phone-6gb", browser=rows)
    shown = speed_section(read_evidence(small.path))
    assert "phone-6gb" in shown.beside[1] and "still this machine's" in shown.beside[1]
    [table] = [t for t in shown.tables if t.caption == "In a browser"]
    assert table.columns == ("throttle", "cold first token", "tokens per s", "download")
    assert table.rows[0] == ("4", "5.20 s", "41.0 tokens/s", "9.0 MB")


def test_figures_of_an_older_measurement_are_not_measured_here(small):
    old = {"lengths": None, "replies": None, "between_pieces_s": None, "load": None, "energy": None}
    small.change_latency(**old, intervals=None, private_bytes=None)
    shown = speed_section(read_evidence(small.path))
    assert shown.figures == [] and "By length" not in " ".join(t.caption for t in shown.tables)
    rows = dict(shown.tables[0].rows)
    assert rows["energy"] == "not measured" and rows["whole reply, median"] != "not measured"
