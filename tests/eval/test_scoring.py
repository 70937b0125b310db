"""The offline scorer: what it must put first, what must not fool it, what it says of itself."""

import json
import math
import random
import time
from pathlib import Path

import numpy as np
import pytest

from distill.core.errors import BadInput
from distill.corpora.starter import RATINGS, read_starter
from eval.judges.offline import OfflineJudge
from eval.scoring.corruptions import CORRUPTIONS, Graded
from eval.scoring.offline import AGREEMENT, EMPTY_SCORE, TABLES, WEIGHTS, digest_of, load_scorer
from eval.scoring.words import sentences_of, stem, words_of

SHIPPED = Path("eval/scoring").resolve()
SCORER = load_scorer()
SAD = [{"role": "user", "content": "My dog Biscuit died on Friday. The house is so quiet."}]


def graded(item) -> Graded:
    return Graded(
        id=item.dialogue.id,
        source="starter",
        split="test",
        turns=tuple(item.dialogue.messages()),
        emotion=item.privileged.fields["emotion"],
        sign=0,
        situation="",
        feeling="",
        replies={grade: item.response(grade).text for grade in RATINGS},
    )


HELD_OUT = [graded(item) for item in read_starter() if item.dialogue.split == "test"]


def score(dialogue: Graded, reply: str) -> float:
    return SCORER.score(list(dialogue.turns), reply)


def share_above(better, worse) -> float:
    """How many held-out dialogues have their better reply scored above the worse."""
    return float(np.mean([score(d, better(d)) > score(d, worse(d)) for d in HELD_OUT]))


@pytest.mark.parametrize(
    ("better", "worse", "floor"),
    [("direct", "plain", 0.85), ("improved", "plain", 0.9), ("improved", "direct", 0.6)],
)
def test_held_out_replies_are_ordered_as_they_were_graded(better, worse, floor):
    assert len(HELD_OUT) > 80
    assert share_above(lambda d: d.replies[better], lambda d: d.replies[worse]) >= floor


WELL_WRITTEN = ("stranger", "opposite", "stitched", "generic", "rambling")


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_degenerate_reply_scores_below_a_good_one(name):
    rng = random.Random(name)
    corrupt, _ = CORRUPTIONS[name]
    found = share_above(
        lambda d: d.replies["improved"],
        lambda d: corrupt(d, [other for other in HELD_OUT if other.id != d.id], rng),
    )
    assert found >= (0.8 if name in WELL_WRITTEN else 0.95)


FIXED = (
    "I'm truly sorry to hear this. It's completely understandable that you feel this way, and "
    "your emotions are valid. Please know that I'm here for you. What would help you right now?",
    "Thank you so much for telling me. That takes courage. I can hear how much this means to you, "
    "and I want you to know that I care. How are you feeling at this moment?",
)


@pytest.mark.parametrize("fixed", FIXED, ids=["sorry", "thanks"])
def test_one_warm_reply_to_everybody_loses_to_replies_made_for_them(fixed):
    assert share_above(lambda d: d.replies["improved"], lambda d: fixed) >= 0.85


def test_a_good_reply_to_one_person_is_not_the_best_for_everybody():
    best = HELD_OUT[0].replies["improved"]
    assert share_above(lambda d: d.replies["improved"], lambda d: best) >= 0.85


def test_more_of_the_same_does_not_help():
    def thrice(dialogue):
        return " ".join([dialogue.replies["improved"]] * 3)

    assert share_above(lambda d: d.replies["improved"], thrice) == 1.0


def test_a_name_and_a_question_mark_are_not_enough():
    assert SCORER.score(SAD, "Biscuit Friday dog house quiet?") < SCORER.score(
        SAD, "Oh, I'm so sorry about Biscuit. A quiet house hurts."
    )


@pytest.mark.parametrize("reply", ["", "   ", "...", "!?", "\n", "🙂🙂"])
def test_a_reply_without_a_word_is_the_lowest_of_all(reply):
    assert SCORER.score(SAD, reply) == EMPTY_SCORE
    assert -2 * float(np.abs(SCORER.weights).sum()) > 1.5 * EMPTY_SCORE
    worst = [" ".join(["no"] * 500), SAD[0]["content"], "asdf qwer zxcv " * 200]
    assert min(SCORER.score(SAD, bad) for bad in worst) > EMPTY_SCORE / 2


@pytest.mark.parametrize("turns", [[], [{"role": "system", "content": "Be kind."}], SAD * 40])
def test_odd_turns_still_give_a_finite_score(turns):
    assert math.isfinite(SCORER.score(turns, "I'm glad that you told me."))


def test_verdicts_mirror_when_the_replies_swap():
    judge = OfflineJudge(SCORER)
    mirror = {"first": "second", "second": "first", "tie": "tie"}
    sides = set()
    for dialogue in HELD_OUT[:30]:
        turns = list(dialogue.turns)
        pair = dialogue.replies["improved"], dialogue.replies["direct"]
        side = judge.compare(turns, *pair).side
        sides.add(side)
        assert judge.compare(turns, *pair[::-1]).side == mirror[side]
        assert judge.compare(turns, pair[0], pair[0]).side == "tie"
    assert sides == {"first", "second", "tie"}


def test_parts_add_up_to_the_score():
    reply = HELD_OUT[0].replies["improved"]
    turns = list(HELD_OUT[0].turns)
    assert sum(SCORER.explain(turns, reply).values()) == pytest.approx(
        SCORER.score(turns, reply), abs=1e-5
    )


def test_code_and_weights_belong_together():
    probes = json.loads((SHIPPED / WEIGHTS).read_text())["probes"]
    found = [SCORER.score(probe["turns"], probe["reply"]) for probe in probes]
    assert found == pytest.approx([probe["score"] for probe in probes], abs=1e-3)
    assert len({probe["score"] for probe in probes}) == len(probes)


def test_what_is_shipped_is_small_and_was_measured_as_it_is():
    assert sum((SHIPPED / name).stat().st_size for name in (WEIGHTS, TABLES, AGREEMENT)) < 1e6
    measured = json.loads((SHIPPED / AGREEMENT).read_text())
    assert measured["scorer_sha256"] == SCORER.digest == digest_of(SHIPPED)
    low, high = measured["methods"]["scorer"]["all"]["interval"]
    assert low < measured["methods"]["scorer"]["all"]["agreement"] < high


def test_the_note_says_what_was_measured():
    measured = json.loads((SHIPPED / AGREEMENT).read_text())["methods"]["scorer"]
    for group in ("all", "human against LLM"):
        assert f"{measured[group]['agreement'] * 100:.0f} % [" in SCORER.agreement_note
        assert f"{measured[group]['pairs']:,}" in SCORER.agreement_note


def test_a_thousand_pairs_take_less_than_two_seconds():
    replies = [(d, reply) for d in HELD_OUT for reply in d.replies.values()]
    started = time.process_time()
    for index in range(2000):
        dialogue, reply = replies[index % len(replies)]
        load = list(dialogue.turns)
        SCORER.score(load, reply)
    assert time.process_time() - started < 2


def copied(tmp_path) -> Path:
    for name in (WEIGHTS, TABLES, AGREEMENT):
        (tmp_path / name).write_bytes((SHIPPED / name).read_bytes())
    return tmp_path


def test_other_weights_borrow_no_agreement(tmp_path):
    folder = copied(tmp_path)
    known = json.loads((folder / WEIGHTS).read_text())
    known["weights"]["tone"] += 1
    (folder / WEIGHTS).write_text(json.dumps(known))
    assert "not been measured" in load_scorer(folder).agreement_note


def test_weights_of_another_version_are_refused(tmp_path):
    folder = copied(tmp_path)
    known = json.loads((folder / WEIGHTS).read_text())
    known["weights"].pop("tone")
    (folder / WEIGHTS).write_text(json.dumps(known))
    with pytest.raises(BadInput, match="fit it again with"):
        load_scorer(folder)


@pytest.mark.parametrize(
    ("word", "expected"),
    [("ploughed", "plough"), ("stories", "story"), ("running", "run"), ("dog's", "dog")],
)
def test_stems_meet(word, expected):
    assert stem(word) == stem(expected) == expected


def test_sentences_keep_their_marks_and_words_their_apostrophes():
    assert sentences_of("Oh no! It’s gone... ?! Where") == ["Oh no!", "It's gone...", "Where"]
    assert words_of("It’s 3 DOGS") == ["it's", "3", "dogs"]
