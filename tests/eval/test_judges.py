"""Judges at the seam: what they are shown, and what they are heard to say."""

import pytest

from distill.core.chat import Sampling, ScriptedChat
from distill.core.journal import Journal
from distill.core.records import Answer, Dialogue, Judgement, Turn
from eval.judges.offline import OfflineJudge
from eval.judges.openai import ChatJudge
from eval.judges.scripted import ScriptedJudge
from eval.judging import judge_pairs
from tests.eval.pairs import always_first, part, verdict

TURNS = [{"role": "user", "content": "My dog ran away."}]


def opinion(script, finish_reason="stop"):
    chat = ScriptedChat(script, finish_reason=finish_reason)
    return ChatJudge(chat, Sampling(1024)).compare(TURNS, "Your dog!", "Oh.")


@pytest.mark.parametrize("side", ["first", "second", "tie"])
def test_the_last_line_is_the_verdict(side):
    found = opinion(lambda messages: verdict(messages[-1]["content"], side))
    assert (found.side, found.version) == (side, "scripted")
    assert found.raw.endswith(side)


@pytest.mark.parametrize(
    "said",
    [
        lambda prompt: "I like the first one.",
        lambda prompt: "",
        lambda prompt: "Verdict: first",
        lambda prompt: verdict(prompt, "both"),
        lambda prompt: verdict(prompt, "not first"),
        lambda prompt: verdict(prompt, "first") + "\nOr maybe not.",
        lambda prompt: verdict(prompt, "first") + "\n" + verdict(prompt, "second"),
    ],
)
def test_an_unclear_answer_is_unreadable(said):
    assert opinion(lambda messages: said(messages[-1]["content"])).side == "unreadable"


def test_an_answer_that_was_cut_off_is_unreadable():
    found = opinion(lambda messages: always_first(messages[-1]["content"]), finish_reason="length")
    assert found.side == "unreadable"


def test_the_judge_sees_the_turns_and_both_replies_under_the_rubric():
    chat = ScriptedChat(lambda messages: "")
    judge = ChatJudge(chat, Sampling())
    judge.compare(TURNS, "Your dog!", "Oh.")
    prompt = chat.asked[0][0]["content"]
    assert prompt.startswith(judge.text)
    shown = [part(prompt, tag) for tag in ("conversation", "first", "second")]
    assert shown == ["user: My dog ran away.", "Your dog!", "Oh."]


class WordScorer:
    """Scores a reply by its number of words."""

    tie_margin = 1.0
    agreement_note = "counts words"
    digest = "words"

    def score(self, turns, reply):
        return float(len(reply.split()))


def test_the_offline_judge_compares_scores_and_ties_within_the_margin():
    judge = OfflineJudge(WordScorer())
    short, near, long = "one", "one two", "one two three"
    assert judge.compare(TURNS, long, short).side == "first"
    assert judge.compare(TURNS, short, long).side == "second"
    assert judge.compare(TURNS, short, near).side == "tie"
    assert "scores 3.0000 and 1.0000" in judge.compare(TURNS, long, short).raw
    assert (judge.agreement_note, judge.rubric_digest) == ("counts words", "words")


def test_every_pair_is_shown_in_both_orders_and_written_down_as_it_comes(tmp_path):
    judge = ScriptedJudge(lambda turns, first, second: "first" if first == "good" else "second")
    dialogue = Dialogue(id="d", source="test", turns=[Turn(**TURNS[0])], split="test")
    common = {"dialogue_id": "d", "artifact_sha256": "x", "first_token_s": 0, "tokens_per_s": 0}
    common |= {"tokens": 1, "finish_reason": "stop"}
    good, bad = (Answer(candidate=text, text=text, **common) for text in ("good", "bad"))
    with Journal(tmp_path / "judgements.jsonl", Judgement) as journal:
        judged = judge_pairs([(dialogue, good, bad)], judge, journal, concurrency=1)
    assert judge.asked == [("good", "bad"), ("bad", "good")]
    assert judged.outcomes == {"d": "win"}
    with Journal(tmp_path / "judgements.jsonl", Judgement) as journal:
        assert [record.verdict.side for record in journal.records] == ["first", "second"]
        assert judge_pairs([(dialogue, good, bad)], judge, journal, 1).outcomes == {"d": "win"}
    assert len(judge.asked) == 2
