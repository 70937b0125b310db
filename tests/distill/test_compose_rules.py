"""What each rule takes from rated and graded responses."""

import itertools

import pytest

from distill.core.records import Dialogue, Response, Turn
from distill.sets.composed import Data, compose, named
from distill.sets.rules import RULES, Taught, first, improved

TURNS = [Turn(role="user", content="My cat came home.")]


def response(author, rating=None, strategy=None, improves=None):
    return Response(
        id=f"d/{author}{strategy or ''}",
        dialogue_id="d",
        text=f"{author} {strategy or ''}",
        author=author,
        rating=rating,
        strategy=strategy,
        improves=improves,
    )


def taken(rule, responses, responders=None):
    taught = RULES[rule].take(responses, responders)
    pairs = [(chosen.author, rejected.author) for chosen, rejected in taught.pairs]
    return [target.author for target in taught.targets], pairs


@pytest.mark.parametrize("human", (1, 2, 3))
@pytest.mark.parametrize("model", (1, 2, 3))
def test_direct_distillation_takes_the_nine_rating_pairs_as_the_paper_says(human, model):
    """The reference's precedence slip let every human rated 2 in, whatever the model's rating."""
    found = taken("direct-distillation", [response("human", human), response("llama", model)])
    if model < 3:
        assert found == ([], [])
    elif human == 3:
        assert found == (["human", "llama"], [])
    else:
        assert found == ([], [("llama", "human")])


def test_the_slip_of_the_reference_would_let_worse_responses_be_chosen():
    ratings = list(itertools.product((1, 2, 3), (1, 2, 3)))
    slip = {(h, m) for h, m in ratings if h == 2 or (h == 1 and m == 3)}
    ours = {
        (h, m)
        for h, m in ratings
        if taken("direct-distillation", [response("human", h), response("gemini", m)])[1]
    }
    assert ours == {(1, 3), (2, 3)}
    assert slip - ours == {(2, 1), (2, 2)}


def test_each_responder_alone_and_all_together():
    rated = [response("human", 3), response("llama", 3), response("gemini", 3)]
    rated += [response("mixtral", 2), response("chatgpt-naive", 3, strategy="naive")]
    everyone = taken("direct-distillation", rated)
    assert everyone == (["human", "llama", "gemini"], [])
    assert taken("direct-distillation", rated, {"gemini"}) == (["human", "gemini"], [])
    assert taken("direct-distillation", rated, {"mixtral"}) == ([], [])
    assert taken("direct-distillation", rated, {"chatgpt-naive"})[0] == ["human", "chatgpt-naive"]


def test_without_a_rated_human_nothing_is_distilled():
    for rule in ("direct-distillation", "improved-human"):
        assert taken(rule, [response("llama", 3)]) == ([], [])
        assert taken(rule, [response("human"), response("llama", 3)]) == ([], [])


@pytest.mark.parametrize("rating", (1, 2, 3))
def test_improved_human_learns_from_good_humans_and_prefers_what_improves_the_others(rating):
    human = response("human", rating)
    better = response("teacher", strategy="sequential", improves=human.id)
    stray = response("other", 3, improves="another")
    found = taken("improved-human", [human, better, stray])
    if rating == 3:
        assert found == (["human", "teacher"], [])
    else:
        assert found == ([], [("teacher", "human")])
    assert taken("improved-human", [human]) == (["human"] if rating == 3 else [], [])


def test_improved_llm_divides_the_dialogues_and_prefers_the_improvement_to_the_human():
    human, draft = response("human", 1), response("gpt", strategy="direct")
    better = response("gpt", strategy="naive", improves=draft.id)
    over_human = response("gpt", strategy="cognitive", improves=human.id)
    seen = {}
    for number in range(200):
        mine = [
            one.model_copy(update={"dialogue_id": f"d{number}"})
            for one in (human, draft, better, over_human)
        ]
        taught = RULES["improved-llm"].take(mine, None)
        assert bool(taught.targets) != bool(taught.pairs)
        assert taught in (Taught([mine[0], mine[2]]), Taught([], [(mine[2], mine[0])]))
        seen[f"d{number}"] = bool(taught.targets)
        assert bool(RULES["improved-llm"].take(mine[1:], None).targets) == seen[f"d{number}"]
    assert 85 < sum(seen.values()) < 130
    alone = [one.model_copy(update={"dialogue_id": "d0"}) for one in (draft, better)]
    pairs = RULES["improved-llm"].take(alone, None).pairs
    assert pairs == ([] if seen["d0"] else [tuple(alone[::-1])])
    assert RULES["improved-llm"].take([human, draft, over_human], None) == Taught()
    curated = [one.model_copy(update={"dialogue_id": "d0"}) for one in (human, better)]
    assert RULES["improved-llm"].take(curated, None) != Taught()


def test_one_strategy_leaves_what_others_improved_out():
    human = response("human", 1)
    both = [response("gpt", strategy=s, improves=human.id) for s in ("naive", "cognitive")]
    dialogue = Dialogue(id="d", source="x", turns=TURNS, split="train")
    data = Data([dialogue], {"d": [human, *both]})
    assert data.strategies() == ["cognitive", "naive"]
    assert data.improved_by("naive").responses["d"] == [human, both[0]]


def test_graded_corpora_teach_the_improved_or_the_direct_reply():
    graded = [response("starter", n + 1, s) for n, s in enumerate(("plain", "direct", "improved"))]
    plain, direct, best = graded
    taught = improved(graded, None)
    assert taught.targets == [best]
    assert taught.pairs == [(best, direct), (best, plain)]
    taught = first(graded, None)
    assert (taught.targets, taught.pairs) == ([direct], [(direct, plain)])


def test_as_given_imitates_everything_and_prefers_nothing():
    responses = [response("human"), response("assistant")]
    assert taken("as-given", responses) == (["human", "assistant"], [])
    assert taken("as-given", responses, {"assistant"}) == (["assistant"], [])


def test_the_order_depends_on_the_seed_alone_and_no_split_leaks_into_another():
    dialogues = [
        Dialogue(id=str(n), source="x", turns=TURNS, split=("train", "valid", "test")[n % 3])
        for n in range(60)
    ]
    responses = {
        d.id: [response("human", 3), response("llama", 3, strategy=d.id)] for d in dialogues
    }
    data = Data(dialogues, responses)
    rule = RULES["direct-distillation"]
    one, again, other = (compose(data, rule, "train", seed, None) for seed in (1, 1, 2))
    assert one == again and one != other
    assert len(one.targets) == len(other.targets) == 40
    assert {dialogue.split for dialogue, _ in one.targets} == {"train"}


def test_a_preference_says_why():
    chosen, rejected = response("llama", 3), response("human", 1)
    data = Data(
        [Dialogue(id="d", source="x", turns=TURNS, split="train")], {"d": [chosen, rejected]}
    )
    (preference,) = compose(data, RULES["direct-distillation"], "train", 0, None).preferences
    assert preference.because == "llama rated 3 over human rated 1"
    assert named(response("starter", 3, "improved")) == "starter improved rated 3"
    assert named(response("chatgpt-naive", 2, "naive")) == "chatgpt-naive rated 2"
