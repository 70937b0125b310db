"""`distill teach states` on a small checkpoint: what live and stored say, kills, refusals."""

import signal
import subprocess
from pathlib import Path

import pytest
import torch

from distill.core.jsonl import read_json, write_jsonl
from distill.core.records import Dialogue, Turn
from distill.learning.pride_rows import RowMaker
from distill.learning.privileged import Knowledge, asking_digest
from distill.learning.teacher import Taught, live_teacher
from distill.learning.teacher_cache_reader import StoredTeacher, StoredTopK, open_store
from distill.learning.teacher_cache_sparse import queried_reverse_kl, top_k_reverse_kl
from distill.learning.teacher_cache_writer import shards_of
from distill.recipe import Pride
from tests.distill.teaching_line import (
    argv,
    data_folder,
    dialogue,
    environment,
    human,
    outcome,
    refusal,
    run,
)

NOTES = ("--prompt", "notes")


@pytest.fixture
def data(tmp_path):
    dialogues = [*map(dialogue, range(5)), dialogue(5, "valid"), dialogue(6, "test")]
    fields = {"d0": {"emotion": "sad", "cause": "the dog died"}, "d3": {"emotion": "proud"}}
    return data_folder(tmp_path / "data", dialogues, [human(n) for n in range(7)], fields)


def as_training_builds_them(data: Path, folder: Path, numbers: range) -> list[Taught]:
    """The teacher's views of the rows that a recipe trains on."""
    step = {"batch_size": 2, "learning_rate": 1e-3}
    teacher = {"model": str(folder), "prompt": "notes"}
    recipe = Pride(method="pride", student=str(folder), teacher=teacher, distill=step)
    tokenizer, knowledge = live_teacher(str(folder)).tokenizer, Knowledge.read(data)
    dialogues = []
    for number in numbers:
        reply = {"role": "assistant", "content": human(number).text}
        messages = [*dialogue(number).messages(), reply]
        dialogues.append((messages, knowledge.of(messages)))
    return [row.informed for row in RowMaker(recipe, tokenizer, tokenizer).rows(dialogues)]


@pytest.mark.parametrize(("precision", "error"), [("bf16", 0.004), ("int8", 0.01)])
def test_stored_and_live_teacher_have_the_same_keys_and_states(
    data, tiny_folder, tmp_path, precision, error
):
    words = ("--teacher", tiny_folder, "--out", tmp_path / "s", "--precision", precision, *NOTES)
    found = outcome("teach", "states", data, *words)
    every = as_training_builds_them(data, tiny_folder, range(6))
    assert (found["replies"], found["computed"]) == (6, 6)
    assert found["tokens"] == sum(len(each.reply_ids) for each in every)
    live = live_teacher(str(tiny_folder))
    store = open_store(
        tmp_path / "s",
        "states",
        student_tokenizer=live.tokenizer,
        prompt_sha256=asking_digest("notes"),
    )
    live_NE, stored_NE = live.hidden(every), StoredTeacher(store).hidden(every)
    assert float((live_NE - stored_NE).norm() / live_NE.norm()) < error
    assert 0 <= found["check"]["mean_kl"] < 1e-3


def test_the_test_split_is_not_stored(data, tiny_folder, tmp_path):
    outcome("teach", "states", data, "--teacher", tiny_folder, "--out", tmp_path / "s", *NOTES)
    (tested,) = as_training_builds_them(data, tiny_folder, range(6, 7))
    assert not open_store(tmp_path / "s", "states").has(tested)


def test_the_fields_reach_the_teachers_prompt_and_can_be_left_out_too(data, tiny_folder, tmp_path):
    words = ("teach", "states", data, "--teacher", tiny_folder, *NOTES)
    assert outcome(*words, "--out", tmp_path / "s")["replies"] == 6
    assert outcome(*words, "--plain-too", "--out", tmp_path / "both")["replies"] == 8


def test_a_dry_run_says_the_size_and_writes_nothing(data, tiny_folder, tmp_path):
    words = ("teach", "states", data, "--teacher", tiny_folder, *NOTES)
    said = outcome(*words, "--dry-run")
    assert said["bytes_per_token"] == 2 * 256 + 8
    found = outcome(*words, "--out", tmp_path / "s")
    assert (said["tokens"], said["replies"]) == (found["tokens"], found["replies"])
    assert found["tokens"] * said["bytes_per_token"] < found["size_bytes"] < 2 * said["total_bytes"]
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("data", "s")] == []


def test_composed_sets_are_stored_with_the_fields_of_their_gathered_folder(
    data, tiny_folder, tmp_path
):
    reply = {"role": "assistant", "content": human(0).text}
    (tmp_path / "sets").mkdir()
    write_jsonl(tmp_path / "sets/sft.jsonl", [{"messages": [*dialogue(0).messages(), reply]}])
    words = ("--teacher", tiny_folder, "--out", tmp_path / "s", "--privileged", data, *NOTES)
    found = outcome("teach", "states", tmp_path / "sets", *words)
    (wanted,) = as_training_builds_them(data, tiny_folder, range(1))
    assert found["replies"] == 1 and open_store(tmp_path / "s", "states").has(wanted)


def test_parts_fill_one_store_and_the_same_command_computes_nothing_twice(
    data, tiny_folder, tmp_path
):
    words = ("teach", "states", data, "--teacher", tiny_folder, "--out", tmp_path / "s", *NOTES)
    parts = [outcome(*words, "--shard", f"{n}/2")["computed"] for n in (1, 2)]
    assert sum(parts) == 6
    found = outcome(*words)
    assert (found["computed"], found["replies"]) == (0, 6)


def test_a_killed_run_goes_on_with_no_row_twice_and_none_lost(tiny_folder, tmp_path):
    told = "I lost my job today and I do not know what to do"
    dialogues = [
        Dialogue(id=f"d{n}", source="m", turns=[Turn(role="user", content=f"{told} {n}")],
                 split="train")
        for n in range(1200)
    ]  # fmt: skip
    sets = tmp_path / "sets"
    sets.mkdir()
    reply = {"role": "assistant", "content": "That sounds hard. What happened next? " * 2}
    write_jsonl(sets / "sft.jsonl", [{"messages": [*d.messages(), reply]} for d in dialogues])
    words = ("teach", "states", sets, "--teacher", tiny_folder, "--out", tmp_path / "s", *NOTES)
    words = (*words, "--shard-mb", 1)
    started = subprocess.Popen(argv(*words), env=environment(), stderr=subprocess.PIPE)
    while not shards_of(tmp_path / "s") and started.poll() is None:
        try:
            started.wait(0.01)
        except subprocess.TimeoutExpired:
            continue
    started.send_signal(signal.SIGKILL)
    started.communicate()
    assert started.returncode == -signal.SIGKILL
    held = shards_of(tmp_path / "s")
    assert held and "is not finished" in run_store(tmp_path / "s")
    found = outcome(*words)
    assert found["replies"] == 1200 and 0 < found["computed"] < 1200
    store = open_store(tmp_path / "s", "states")
    rows = sum(store.shard(name).get_slice("hidden").get_shape()[0] for name in store.names)
    assert rows == store.tokens == found["tokens"]
    assert not list((tmp_path / "s").glob(".*"))


def run_store(folder: Path) -> str:
    with pytest.raises(ValueError, match="finished") as refused:
        open_store(folder, "states")
    return str(refused.value)


def test_top_k_is_a_lower_bound_of_what_the_states_say(data, tiny_folder, tmp_path):
    words = ("teach", "states", data, "--teacher", tiny_folder, *NOTES)
    done = run(*words, "--out", tmp_path / "k", "--top-k", 20)
    assert "lower bound" in done.stdout
    outcome(*words, "--out", tmp_path / "s")
    every = as_training_builds_them(data, tiny_folder, range(6))
    states = StoredTeacher(open_store(tmp_path / "s", "states"))
    top = StoredTopK(open_store(tmp_path / "k", "top-k"))
    hidden_NE, normalizers_N = states.answered(every)
    student_NE = hidden_NE + 0.3 * torch.randn(hidden_NE.shape)
    exact = queried_reverse_kl(
        student_NE, states.head.weight_VD, hidden_NE, normalizers_N, states.head, keep=0
    )
    bound = top_k_reverse_kl(student_NE, states.head.weight_VD, top.rows(every), top.vocabulary)
    assert (bound.scored.divergence_N <= exact.scored.divergence_N + 1e-3).all()
    assert float(bound.scored.loss) > 0


def test_what_a_service_sent_becomes_a_store(data, tiny_folder, tmp_path):
    tokenizer = live_teacher(str(tiny_folder)).tokenizer
    ids = tokenizer.encode(human(0).text, add_special_tokens=False)
    content = [{"token": f"token_id:{i}", "logprob": -0.5, "top_logprobs": []} for i in ids]
    write_jsonl(
        tmp_path / "sent.jsonl",
        [{"response_id": human(0).id, "logprobs": {"content": content}}],
    )
    words = ("teach", "states", data, "--teacher", "somebody", "--top-logprobs")
    words = (*words, tmp_path / "sent.jsonl", "--student", tiny_folder, *NOTES)
    found = outcome(*words, "--top-k", 5, "--out", tmp_path / "s")
    assert (found["replies"], found["without_logprobs"]) == (1, 5)
    (wanted,) = as_training_builds_them(data, tiny_folder, range(1))
    rows = StoredTopK(open_store(tmp_path / "s", "top-k")).rows([wanted])
    assert rows["ids"][: len(ids), 0].tolist() == ids
    # The token that ends the turn was not scored: all of its mass lies in the bucket.
    assert rows["log_tail"][len(ids) :].tolist() == [0.0] * (len(wanted.reply_ids) - len(ids))
    again = outcome(*words, "--top-k", 5, "--out", tmp_path / "s")
    assert again["computed"] == 0
    assert "needs --student" in refusal(*words, "--out", tmp_path / "other")


def test_what_a_service_sent_must_belong_to_the_data(data, tiny_folder, tmp_path):
    words = ("teach", "states", data, "--teacher", "somebody", "--student", tiny_folder)
    words = (*words, "--top-k", 5, "--out", tmp_path / "s", *NOTES, "--top-logprobs")
    write_jsonl(tmp_path / "strange.jsonl", [{"response_id": "x/y", "logprobs": {"content": []}}])
    assert "scores x/y, which is no response" in refusal(*words, tmp_path / "strange.jsonl")
    (tmp_path / "empty.jsonl").write_text("")
    assert "is empty; write one line a response" in refusal(*words, tmp_path / "empty.jsonl")


def test_refusals_of_the_command_line(data, tiny_folder, tmp_path):
    words = ("teach", "states", data, "--teacher", tiny_folder, *NOTES)
    assert "--out FOLDER, or count first with --dry-run" in refusal(*words)
    assert "--group that divides it, such as 32" in refusal(
        *words, "--dry-run", "--precision", "int8", "--group", 60
    )
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert "neither responses.jsonl nor sft.jsonl" in refusal(
        "teach", "states", nothing, "--teacher", tiny_folder, "--dry-run"
    )
    mute = data_folder(tmp_path / "mute", [dialogue(0)])
    assert "has no reply in its training and validation parts" in refusal(
        "teach", "states", mute, "--teacher", tiny_folder, "--dry-run"
    )


def test_a_teacher_without_a_chat_template_is_refused(data, tiny_folder, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in tiny_folder.iterdir():
        if file.name != "chat_template.jinja":
            (bare / file.name).write_bytes(file.read_bytes())
    told = refusal("teach", "states", data, "--teacher", bare, "--dry-run", *NOTES)
    assert "has no chat template; add chat_template.jinja" in told


def test_a_store_of_a_teacher_that_changed_is_refused(data, tiny_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in tiny_folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    words = ("teach", "states", data, "--out", tmp_path / "s", *NOTES)
    outcome(*words, "--teacher", other)
    (other / "README.md").write_text("retrained")
    assert "was begun with teacher_sha256" in refusal(*words, "--teacher", other)
    assert read_json(tmp_path / "s/teacher.json")["format"] == 1


def test_replies_that_are_deleted_while_they_are_stored_are_missed(
    data, tiny_folder, tmp_path, monkeypatch
):
    from distill.learning import teacher_cache_job

    def forgetful(folder: Path) -> None:
        for shard in shards_of(folder):
            shard.unlink()
        write_index(folder)

    write_index = teacher_cache_job.write_index
    monkeypatch.setattr(teacher_cache_job, "write_index", forgetful)
    done = run("teach", "states", data, "--teacher", tiny_folder, "--out", tmp_path / "s", *NOTES)
    assert done.returncode == 1 and "lacks 6 replies that were stored" in done.stderr
