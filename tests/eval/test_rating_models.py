"""Scorers fitted on rated replies: what they learn, refuse, and keep on the disk."""

import json
import random
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from distill.core.asking import Terms
from distill.core.chat import Reply, ScriptedChat
from distill.core.errors import BadInput, Unavailable
from eval.scoring.apply import rows_known
from eval.scoring.classifiers import CLASSIFIERS, SELECTIONS, classifier, selected
from eval.scoring.columns import FAMILIES, LEARNED, Source, columns_of
from eval.scoring.figures import CLASSES, confusion, figures, macro_f1, pairwise, quadratic_kappa
from eval.scoring.model import Design, fit_model, known, load_model, save_model
from eval.scoring.rated import ratings_of, read_rated
from eval.scoring.subfactors import SUBFACTORS, Subfactors, read_scores
from eval.scoring.trials import measured, split
from tests.eval.pairs import distill, error_line, write_answers, write_lines

BAD, OKAY, GOOD = (
    "whatever. not my problem lol",
    "That is nice.",
    ("I can hear how much it means to you. What happened then?"),
)
CODES = {BAD: "Confront", OKAY: "Give Information", GOOD: "Complex Reflection, Open Question"}


@pytest.fixture
def rated(tmp_path):
    """90 dialogues with three replies each; a tenth of the ratings is wrong."""
    rng = random.Random(0)
    dialogues, responses, notes = [], [], []
    for n in range(90):
        turn = {"role": "user", "content": f"My {rng.choice(['dog', 'job', 'aunt'])} is {n} now."}
        dialogues.append({"id": f"d{n}", "source": "test", "turns": [turn], "split": "train"})
        fields = {"emotion": "sad"}
        for author, text, rating in (("a", BAD, 1), ("b", OKAY, 2), ("c", GOOD, 3)):
            said = rng.choice([1, 2, 3]) if rng.random() < 0.1 else rating
            common = {"id": f"d{n}/{author}", "dialogue_id": f"d{n}", "author": author}
            responses.append(common | {"text": f"{text} ({n})", "rating": said})
            fields[f"miti_{author}"] = CODES[text]
        notes.append({"dialogue_id": f"d{n}", "fields": fields})
    folder = tmp_path / "rated"
    write_lines(folder / "dialogues.jsonl", dialogues)
    write_lines(folder / "responses.jsonl", responses)
    write_lines(folder / "privileged.jsonl", notes)
    return folder


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_classifier_learns_and_is_the_same_after_a_visit_to_the_disk(name, rated, tmp_path):
    design = Design(("text", "miti"), name)
    rows = known(read_rated(rated), design, Source())
    model = fit_model(rows, design)
    assert np.mean(model.told(rows) == ratings_of(rows.rows)) > 0.8
    save_model(model, tmp_path / "scorer", {"agreement_note": "none"})
    again, card = load_model(tmp_path / "scorer")
    assert np.array_equal(again.chances(rows), model.chances(rows))
    assert card["agreement_note"] == "none" and again.design == design
    assert np.allclose(model.chances(rows).sum(1), 1)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_selection_finds_the_column_that_matters(name):
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 2, 3], 60)
    columns = rng.normal(size=(180, 12))
    columns[:, 7] += labels * 2
    kept = selected(name, columns, labels, 2, 0)
    assert 7 in kept and len(kept) == 2
    assert len(selected("none", columns, labels, 2, 0)) == 12


def test_all_replies_to_a_dialogue_are_on_one_side_and_classes_are_even(rated):
    rows = read_rated(rated)
    trial = split(rows, 3, balanced=True)
    sides = [{rows[n].dialogue_id for n in side} for side in (trial.train, trial.held_out)]
    assert not sides[0] & sides[1] and set(trial.test) <= set(trial.held_out)
    for side in (trial.train, trial.test):
        counts = np.bincount([rows[n].rating for n in side], minlength=4)[1:]
        assert len(set(counts)) == 1 and counts[0] > 0


def test_a_design_is_measured_on_what_it_has_not_seen(rated):
    design = Design(("text", "miti"))
    found = measured(known(read_rated(rated), design, Source()), design, 2, balanced=True)
    assert found["accuracy"]["value"] > 0.7 and len(found["accuracy_by_seed"]) == 2
    low, high = found["accuracy"]["interval"]
    assert low < found["accuracy"]["value"] < high
    assert found["pairwise"]["agreement"] > 0.8 and np.sum(found["confusion"]) == found["rows"]
    assert max(found["importance"], key=found["importance"].get) != "text: commas"


def test_figures_are_those_of_the_library():
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score

    rng = np.random.default_rng(1)
    given, told = rng.integers(1, 4, 200), rng.integers(1, 4, 200)
    told[:120] = given[:120]
    table = confusion(given, told)
    assert macro_f1(table) == pytest.approx(f1_score(given, told, average="macro"))
    kappa = cohen_kappa_score(given, told, weights="quadratic", labels=list(CLASSES))
    assert quadratic_kappa(table) == pytest.approx(kappa)
    found = figures(given, told, [str(n // 2) for n in range(200)], 0)
    assert found["accuracy"]["value"] == pytest.approx(accuracy_score(given, told))


def test_pairwise_agreement_counts_decided_pairs_and_an_equal_score_as_half():
    found = pairwise(
        np.array([1.0, 2.0, 2.0, 5.0]), np.array([1, 2, 3, 3]), ["d", "d", "d", "e"], 0
    )
    assert (found["agreement"], found["pairs"]) == (pytest.approx(2.5 / 3), 3)


def test_fifteen_whole_numbers_are_read_and_nothing_else():
    def said(values, reason="stop"):
        return Reply(json.dumps(values), "m", reason, 1, 0.0, 0.0)

    whole = dict.fromkeys(SUBFACTORS, 7)
    assert read_scores(said(whole)) == [7] * 15
    for broken in (
        whole | {"warmth": 11},
        whole | {"warmth": "7"},
        whole | {"warmth": True},
        dict.fromkeys(SUBFACTORS[1:], 7),
        whole | {"total": 7},
        [7] * 15,
    ):
        assert read_scores(said(broken)) is None
    assert read_scores(said(whole, "length")) is None
    assert read_scores(Reply("I would say 7.", "m", "stop", 1, 0.0, 0.0)) is None


def test_what_cannot_be_used_is_refused(rated, tmp_path):
    rows = read_rated(rated)
    bare = [type(row)(row.id, row.dialogue_id, row.turns, row.text, "a", 1) for row in rows[:3]]
    with pytest.raises(BadInput, match="have no MITI codes"):
        columns_of(bare, ["miti"], Source())
    with pytest.raises(BadInput, match="name it with --scorer"):
        columns_of(rows, ["subfactors"], Source())
    with pytest.raises(BadInput, match=f"choose of: text.*{LEARNED}"):
        columns_of(rows, ["smell"], Source())
    with pytest.raises(BadInput, match="choose one of: logistic"):
        classifier("oracle", 0)
    with pytest.raises(BadInput, match="no selection 'best'"):
        selected("best", np.ones((2, 2)), np.ones(2, int), 1, 0)
    assert next(iter(FAMILIES)) == "text"


def test_a_saved_scorer_that_was_changed_or_holds_code_is_not_opened(rated, tmp_path):
    design = Design(("text",))
    rows = known(read_rated(rated), design, Source())
    folder = tmp_path / "scorer"
    save_model(fit_model(rows, design), folder, {})
    with zipfile.ZipFile(folder / "scorer.skops") as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = parts["schema.json"].decode()
    evil = schema.replace("LogisticRegression", "Evil").replace(
        "sklearn.linear_model", "antigravity"
    )
    with zipfile.ZipFile(folder / "scorer.skops", "w") as archive:
        for name, content in (parts | {"schema.json": evil.encode()}).items():
            archive.writestr(name, content)
    with pytest.raises(BadInput, match="is not the file that was saved"):
        load_model(folder)
    card = json.loads((folder / "scorer.json").read_text())
    from distill.core.jsonl import sha256_of

    card["files"]["scorer.skops"] = sha256_of(folder / "scorer.skops")
    (folder / "scorer.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="which is no part of a scorer"):
        load_model(folder)
    (folder / "scorer.json").write_text("{}")
    with pytest.raises(BadInput, match="is no card of a scorer"):
        load_model(folder)


def test_a_scorer_is_fitted_applied_and_explained_on_the_command_line(rated, tmp_path):
    scorer = tmp_path / "scorer"
    words = ["--features", "text", "--classifier", "tree", "--seeds", 2, "--json"]
    done = distill("eval", "scoring", "fit", rated, "--out", scorer, *words)
    assert done.returncode == 0, done.stderr
    card = json.loads(done.stdout)
    assert card["measured"]["accuracy"]["value"] > 0.6
    # The scorer that is saved learns from every dialogue, as many of each rating as of the rarest.
    rarest = min(np.bincount(ratings_of(read_rated(rated)))[1:])
    assert card["learned_rows"] == 3 * rarest
    answers = write_answers(tmp_path / "answers.jsonl", "student", [GOOD, BAD])
    dialogues, scores = rated / "dialogues.jsonl", tmp_path / "scores.jsonl"
    common = ["--dialogues", dialogues, "--out", scores]
    done = distill("eval", "scoring", "apply", scorer, answers, *common)
    assert done.returncode == 0 and "decided pairs of held-out dialogues" in done.stdout
    good, bad = (json.loads(line)["rating"] for line in scores.read_text().splitlines())
    assert good > bad + 0.5
    done = distill("eval", "scoring", "report", scorer, "--json")
    assert done.returncode == 0, done.stderr
    assert (scorer / "features.png").stat().st_size > 5000
    write_answers(answers, "student", [GOOD] * 91)
    line = error_line(distill("eval", "scoring", "apply", scorer, answers, *common))
    assert "1 answers have no dialogue" in line


def test_a_folder_without_ratings_is_refused(rated):
    write_lines(rated / "responses.jsonl", [])
    with pytest.raises(BadInput, match="has 0 replies rated 1"):
        read_rated(rated)


def test_sub_factors_are_asked_once_and_an_unreadable_answer_stops_the_fit(rated, tmp_path):
    rows = read_rated(rated)[:6]
    good = json.dumps(dict.fromkeys(SUBFACTORS, 4))
    chat = ScriptedChat(lambda messages: good)
    for _ in range(2):
        source = Source("local", Subfactors(chat, tmp_path / "ledger.sqlite", Terms(2)))
        found = columns_of(rows, ["subfactors"], source)
    assert found.values.shape == (6, 15) and len(chat.asked) == 6
    assert found.names[0] == "subfactors: takes_up"
    silent = ScriptedChat(lambda messages: "I would say 7.")
    broken = Subfactors(silent, tmp_path / "other.sqlite", Terms(2))
    with pytest.raises(Unavailable, match="6 of 6 replies have no readable scores, first 'd0/a'"):
        columns_of(rows, ["subfactors"], Source("local", broken))


def test_codes_are_read_by_our_own_classifier_and_only_from_what_is_coded(rated, monkeypatch):
    monkeypatch.setattr(
        "eval.scoring.columns.embed", lambda texts, name: np.eye(4)[[0] * len(texts)]
    )
    rows, design = read_rated(rated), Design((LEARNED,), "forest")
    every = known(rows, design, Source())
    model = fit_model(every, design)
    assert "miti-learned: Confront" in model.names and "miti-learned: Warn" not in model.names
    assert np.mean(model.told(every) == ratings_of(rows)) > 0.8
    bare = [replace(row, miti=None) for row in rows]
    with pytest.raises(BadInput, match="has no MITI codes to learn from"):
        fit_model(known(bare, design, Source()), design)


def test_what_new_replies_do_not_have_and_too_few_ratings_are_refused(rated):
    rows = read_rated(rated)
    model = fit_model(known(rows, Design(("miti",)), Source()), Design(("miti",)))
    with pytest.raises(BadInput, match="the scorer reads miti, which new replies do not have"):
        rows_known(model, rows)
    few = [replace(row, rating=2) for row in rows]
    with pytest.raises(BadInput, match="too few rated replies to hold some of each rating out"):
        split(few, 0, balanced=True)
