"""`distill teach responses` through the real client library, against an endpoint on loopback."""

import json
import subprocess

import pytest

from distill.core.jsonl import read_json, read_jsonl
from distill.core.records import Refusal
from distill.teaching.prompts import read_prompt
from tests.distill.raw_corpora import story
from tests.distill.teaching_line import (
    ROOT,
    argv,
    data_folder,
    dialogue,
    environment,
    human,
    outcome,
    process,
    prompts_of,
    refusal,
    responses_in,
    run,
)
from tests.endpoint import StubEndpoint

REASONED = '{"feelings": "Worn out.", "situation": "Nobody calls.", "reply": "I would call you."}'


@pytest.fixture
def data(tmp_path):
    dialogues = [*map(dialogue, range(6)), dialogue(6, "valid"), dialogue(7, "test")]
    return data_folder(tmp_path / "data", dialogues, [human(0), human(7)])


def teach(data, endpoint, *words):
    """The command line of a run into `taught` beside the data."""
    base = data.parent
    return (
        *("teach", "responses", data, "--teacher", "openai:gpt-x", "--base-url", endpoint.url),
        *("--out", base / "taught", "--ledger", base / "ledger.sqlite", *words),
    )


def test_every_dialogue_but_the_tested_ones_gets_a_response(data):
    with StubEndpoint(lambda text: "I would call you.", version="gpt-x-2") as endpoint:
        found = outcome(*teach(data, endpoint))
    assert (found["calls"], found["outcomes"]["answered"]) == (7, 7)
    assert not [text for text in prompts_of(endpoint.requests) if story(7) in text]
    added = [one for one in responses_in(data.parent / "taught") if one.author == "gpt-x"]
    assert [one.dialogue_id for one in added] == [f"d{number}" for number in range(7)]
    first = added[0]
    assert (first.id, first.text, first.strategy) == (
        "d0/gpt-x/direct", "I would call you.", "direct"
    )  # fmt: skip
    prompt = read_prompt("respond")
    assert (first.prompt, first.prompt_digest) == (prompt.name, prompt.digest)
    assert first.author_version == "gpt-x-2"
    assert first.reasoning is None


def test_teaching_in_a_process(data):
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        done = process(*teach(data, endpoint, "--json"))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["calls"] == 7
        plain = process(*teach(data, endpoint))
    assert "7 of 7 answered, with 0 calls for 0.0000 dollars and 7 replies" in plain.stdout


def test_what_was_there_stays_and_gather_json_tells_what_was_done(data):
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        outcome(*teach(data, endpoint))
    taught = data.parent / "taught"
    assert [one.id for one in responses_in(taught) if one.author == "human"] == [
        "d0/human", "d7/human"
    ]  # fmt: skip
    assert (taught / "dialogues.jsonl").read_text() == (data / "dialogues.jsonl").read_text()
    (step,) = read_json(taught / "gather.json")["steps"]
    assert step["teacher"] == "openai:gpt-x"
    assert step["prompts"] == {"respond": read_prompt("respond").digest}


def test_the_same_run_again_pays_for_nothing_and_a_taught_folder_asks_nothing(data):
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        outcome(*teach(data, endpoint))
        before = (data.parent / "taught/responses.jsonl").read_bytes()
        again = outcome(*teach(data, endpoint))
        assert (again["calls"], again["from_ledger"]) == (0, 7)
        assert (data.parent / "taught/responses.jsonl").read_bytes() == before
        more = teach(data.parent / "taught", endpoint, "--out", data.parent / "more")
        assert outcome(*more)["outcomes"]["answered"] == 0
    assert len(endpoint.requests) == 7


def test_reasoning_and_answer_are_kept_apart(data):
    with StubEndpoint(lambda text: REASONED) as endpoint:
        outcome(*teach(data, endpoint, "--reasoning", "--limit", 1))
    (added,) = [one for one in responses_in(data.parent / "taught") if one.author == "gpt-x"]
    assert (added.text, added.strategy) == ("I would call you.", "reasoning")
    assert added.reasoning == "Feelings: Worn out.\nSituation: Nobody calls."


def test_privileged_fields_are_shown_to_the_teacher_and_never_asked_without(tmp_path):
    fields = {"d0": {"need": "to be heard", "emotion": "lonely"}, "d1": {"emotion": "lonely"}}
    data = data_folder(tmp_path / "data", [dialogue(0), dialogue(1)], fields=fields)
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        done = run(*teach(data, endpoint, "--with", "need"))
        assert "left out, without need: 1 dialogues" in done.stderr
        (text,) = prompts_of(endpoint.requests)
        assert "need: to be heard" in text
        assert "lonely" not in text
        assert "no dialogue has cause" in refusal(*teach(data, endpoint, "--with", "cause"))
    assert responses_in(tmp_path / "taught")[0].strategy == "direct-informed"


def test_an_unreadable_answer_is_counted_and_listed_and_can_be_asked_again(data):
    said = iter(["certainly!"] + [REASONED] * 20)
    with StubEndpoint(lambda text: next(said)) as endpoint:
        words = ("--reasoning", "--concurrency", 1)
        found = outcome(*teach(data, endpoint, *words))
        assert (found["outcomes"]["answered"], found["outcomes"]["unreadable"]) == (6, 1)
        listed = data.parent / "taught/unanswered.jsonl"
        (one,) = read_jsonl(listed, Refusal)
        assert (one.response_id, one.rule) == ("d0/gpt-x/reasoning", "unreadable")
        again = teach(data.parent / "taught", endpoint, *words, "--again", listed)
        found = outcome(*again, "--out", data.parent / "more")
        assert (found["calls"], found["outcomes"]["answered"]) == (1, 1)
    assert [request.get("seed") for request in endpoint.requests] == [None] * 7 + [1]
    assert responses_in(data.parent / "more")[1].id == "d0/gpt-x/reasoning~2"


def test_a_blocked_answer_is_paid_once_and_never_taken_for_an_answer(data):
    with StubEndpoint(lambda text: "I can", finish_reason="content_filter") as endpoint:
        for calls in (7, 0):
            found = outcome(*teach(data, endpoint))
            assert (found["calls"], found["outcomes"]["blocked"]) == (calls, 7)
    assert len(responses_in(data.parent / "taught")) == 2


def test_a_call_that_failed_is_asked_by_the_next_run(data):
    def status(call):
        return 400 if call == 3 else 200

    with StubEndpoint(lambda text: "I would call you.", status=status) as endpoint:
        found = outcome(*teach(data, endpoint), exit_code=1)
        assert (found["outcomes"]["answered"], found["outcomes"]["failed"]) == (6, 1)
        found = outcome(*teach(data, endpoint))
        assert (found["calls"], found["outcomes"]["answered"]) == (1, 7)


def test_a_dry_run_counts_and_asks_nothing_and_needs_no_key(data):
    words = ("teach", "responses", data, "--teacher", "openai:gpt-4o", "--dry-run")
    found = outcome(*words, "--ledger", data.parent / "ledger.sqlite")
    assert (found["calls"], found["in_ledger"]) == (7, 0)
    assert 0 < found["expected_usd"] < found["worst_usd"]
    assert not (data.parent / "taught").exists()
    assert "names no model" in refusal(*words[:4], "gpt-4o", "--dry-run")


def test_the_cost_limit_stops_the_run_and_the_next_one_goes_on(data):
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        # Two dollars a token, in or out, of which a stand-in's answer has few and may have 512.
        priced = ("--price", "0,1000000", "--concurrency", 1)
        stopped = refusal(*teach(data, endpoint, *priced, "--max-cost", 520))
        assert "might pass --max-cost 520" in stopped
        made = len(endpoint.requests)
        assert 1 <= made < 7
        assert not (data.parent / "taught").exists()
        found = outcome(*teach(data, endpoint, *priced, "--max-cost", 5000))
    assert (found["calls"], found["outcomes"]["answered"]) == (7 - made, 7)


def test_shards_of_one_ledger_make_the_whole(data):
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        parts = [outcome(*teach(data, endpoint, "--shard", f"{n}/2"))["calls"] for n in (1, 2)]
        assert sum(parts) == 7
        assert outcome(*teach(data, endpoint))["calls"] == 0


def test_nothing_is_asked_when_it_could_not_be_written(data):
    taken = data.parent / "taken"
    taken.mkdir()
    (taken / "thesis.txt").touch()
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        assert "holds thesis.txt" in refusal(*teach(data, endpoint, "--out", taken))
        assert "never asked about it" in refusal(*teach(data, endpoint, "--split", "test"))
        words = ("teach", "responses", data, "--teacher", "openai:x", "--base-url", endpoint.url)
        assert "--out FOLDER" in refusal(*words)
    assert endpoint.requests == []


def test_a_near_duplicate_of_the_test_split_is_left_out_before_it_is_paid_for(tmp_path):
    near = dialogue(2, text=f"{story(1)} Really.")
    data = data_folder(tmp_path / "data", [dialogue(1, "test"), near, dialogue(3)])
    with StubEndpoint(lambda text: "I would call you.") as endpoint:
        done = run(*teach(data, endpoint))
    assert "near to a dialogue of the test split: d2 (near d1)" in done.stderr
    (text,) = prompts_of(endpoint.requests)
    assert story(3) in text


def test_a_run_that_is_killed_again_and_again_ends_with_every_response_once(tmp_path):
    data = data_folder(tmp_path / "data", [dialogue(number) for number in range(40)])
    running = []

    def script(text):
        if len(endpoint.requests) in (7, 16, 25, 34):
            running[-1].kill()
        return "I would call you."

    with StubEndpoint(script) as endpoint:
        words = argv(*teach(data, endpoint, "--concurrency", 3))
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        for attempt in range(5):
            running.append(subprocess.Popen(words, cwd=ROOT, env=environment(), **quiet))
            assert (running[-1].wait() == 0) is (attempt == 4)
    texts = prompts_of(endpoint.requests)
    assert len(texts) - len(set(texts)) <= 4 * 3
    assert len(set(texts)) == 40
    found = responses_in(tmp_path / "taught")
    assert sorted(one.dialogue_id for one in found) == sorted(f"d{n}" for n in range(40))


def test_several_endpoints_share_the_work(data):
    with (
        StubEndpoint(lambda text: "I would call you.") as one,
        StubEndpoint(lambda text: "I would call you.") as other,
    ):
        found = outcome(*teach(data, one, "--base-url", other.url, "--concurrency", 2))
    assert found["outcomes"]["answered"] == 7
    assert one.requests and other.requests
