"""Blind votes: what a round shows, what a tally says, and that `distill eval` reads the files."""

import json
from dataclasses import replace

import pytest

from demo.ballot import QUESTION, Ballot, Candidate, Round, interval, new_round, save
from demo.hearing import Heard
from demo.tab_compare import HELPED, question, tally
from distill.core.command import group_of
from distill.core.errors import BadInput, MissingInput
from distill.core.jsonl import read_jsonl, write_jsonl
from distill.core.records import Judgement
from eval.__main__ import GROUP

PAIR = (Candidate("student", "a" * 64), Candidate("base", "b" * 64))


def heard(text):
    return Heard(text, first_token_s=0.1, tokens=3, tokens_per_s=30.0, finish="stop")


def voted(name, vote, mirrored=False):
    replies = (heard(f"student says {name}"), heard(f"base says {name}"))
    return Round(name, f"message {name}", mirrored, replies, vote)


BALLOT = Ballot(
    (
        voted("a", "left"),
        voted("b", "left", mirrored=True),
        voted("c", "right", mirrored=True),
        voted("d", "tie"),
        voted("e", "left"),
    )
)


def test_a_vote_is_for_who_stood_there():
    assert [one.winner for one in BALLOT.rounds] == [0, 1, 0, None, 0]
    assert BALLOT.counts() == (3, 1, 1)


def test_the_lot_puts_each_file_on_either_side():
    assert {new_round("x").mirrored for _ in range(60)} == {True, False}


def test_a_round_can_be_voted_on_once_and_only_with_two_replies():
    silent = Round("x", "message", False, (heard("something"), Heard()))
    assert not silent.votable
    ballot = Ballot().with_round(voted("a", None))
    assert ballot.open.votable
    assert not ballot.voting("tie").rounds[-1].votable


def test_no_block_of_help_is_ever_judged():
    block = "People can help.\n- Call them.\n\n"
    helped = replace(voted("a", None), replies=(replace(heard("x"), help=block), heard("y")))
    assert helped.helped and not helped.votable
    assert question(helped) == HELPED
    troubled = replace(helped, replies=(helped.replies[0], Heard(trouble="it is gone")))
    assert question(troubled) == "No vote: it is gone."
    assert question(voted("b", None)) == QUESTION


def test_a_round_nobody_voted_on_is_dropped_by_the_next():
    ballot = Ballot().with_round(voted("a", None)).with_round(voted("b", None))
    assert [one.id for one in ballot.rounds] == ["b"]


def test_the_interval_is_that_of_jeffreys():
    assert interval(5, 5) == pytest.approx((0.2235, 0.7765), abs=1e-4)
    assert interval(0, 4)[0] == 0.0
    assert interval(4, 0)[1] == 1.0


def test_the_tally_says_what_is_decided_and_what_is_not():
    assert tally(Ballot(), PAIR) == "No votes yet."
    assert tally(Ballot((voted("d", "tie"),)), PAIR).endswith("Nothing is decided.")
    assert "student 3, base 1, ties 1. student is preferred in 75% of 4" in tally(BALLOT, PAIR)


@pytest.fixture
def evaluate(capsys):
    """Run a command of `distill eval` in this process; its exit code and its JSON object."""

    def run(*words):
        group = group_of("eval", "", GROUP)
        code = group([*map(str, words), "--json"], standalone_mode=False)
        return code or 0, json.loads(capsys.readouterr().out)

    return run


def winrate(folder, out):
    """The words that count the votes in a folder."""
    answers = [folder / f"answers/{one.name}.jsonl" for one in PAIR]
    rest = ["--dialogues", folder / "sets/test.jsonl", "--judge", "person", "--out", folder / out]
    return ["winrate", *answers, *rest]


def test_saved_votes_are_counted_by_eval_winrate(tmp_path, evaluate):
    assert save(BALLOT, PAIR, tmp_path) == 5
    code, found = evaluate(*winrate(tmp_path, "judged"))
    assert code == 0
    assert (found["wins"], found["losses"], found["ties"], found["flips"]) == (3, 1, 1, 0)
    assert found["judge"] == "person"
    assert "a person's own votes" in found["agreement_note"]
    assert evaluate(*winrate(tmp_path, "judged"))[1]["calls"] == 0


def test_saved_votes_are_a_run_that_eval_report_and_compare_read(tmp_path, evaluate):
    save(BALLOT, PAIR, tmp_path)
    evaluate(*winrate(tmp_path, "judged"))
    code, found = evaluate("report", tmp_path)
    assert code == 0 and "wins 75 % of 4 decided pairs" in found["summary"]
    code, found = evaluate("compare", *winrate(tmp_path, "judged")[1:])
    assert found["couples"][0]["wins"] == 3


def test_saving_again_adds_only_new_votes(tmp_path):
    save(BALLOT, PAIR, tmp_path)
    more = BALLOT.with_round(voted("f", "right"))
    assert save(more, PAIR, tmp_path) == 6
    votes = read_jsonl(tmp_path / "judged/judgements.jsonl", Judgement)
    assert [vote.dialogue_id for vote in votes] == list("abcdef")
    assert votes[1].first.startswith("base:") and votes[1].verdict.side == "first"
    assert {vote.judge for vote in votes} == {"person"}


def test_votes_on_another_file_are_not_mixed_in(tmp_path):
    save(BALLOT, PAIR, tmp_path)
    with pytest.raises(BadInput, match="answers of another file"):
        save(BALLOT, (Candidate("student", "c" * 64), PAIR[1]), tmp_path)


def test_eval_refuses_what_holds_no_votes_or_votes_on_two_questions(tmp_path, evaluate):
    save(BALLOT, PAIR, tmp_path)
    with pytest.raises(MissingInput, match="holds no votes of a person"):
        evaluate(*winrate(tmp_path, "elsewhere"))
    path = tmp_path / "judged/judgements.jsonl"
    votes = read_jsonl(path, Judgement)
    write_jsonl(path, [*votes, votes[0].model_copy(update={"rubric_digest": "f" * 64})])
    with pytest.raises(BadInput, match="votes on several questions"):
        evaluate(*winrate(tmp_path, "judged"))


def test_a_pair_nobody_voted_on_is_a_failed_call(tmp_path, evaluate):
    save(BALLOT, PAIR, tmp_path)
    path = tmp_path / "judged/judgements.jsonl"
    write_jsonl(path, read_jsonl(path, Judgement)[:-1])
    code, found = evaluate(*winrate(tmp_path, "judged"))
    assert (code, found["failed"], found["pairs"]) == (1, 1, 5)
