"""`distill eval answer` through the command line: files, checkpoints and endpoints."""

import json
import shutil
import subprocess
import sys
import threading
import time

import psutil
import pytest

from distill.core.chat import OpenAIChat, Sampling
from distill.core.errors import BadInput
from distill.core.jsonl import digest_text, sha256_of
from distill.core.records import Answer, Dialogue, Turn
from distill.core.serving import served
from eval.candidates import CandidateOptions, open_candidate
from eval.candidates.checkpoint import opened
from eval.held_out import read_answers, read_dialogues
from tests.endpoint import StubEndpoint
from tests.eval.pairs import ROOT, distill, error_line, lines_of, write_answers, write_dialogues
from tests.models import tiny_checkpoint


def echo(text):
    return f"You said {text}"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny", layers=1)


@pytest.fixture
def ask(tmp_path):
    """Answer four dialogues with a candidate; give back the finished process."""
    dialogues = write_dialogues(tmp_path / "test.jsonl")
    out = tmp_path / "answers" / "x.jsonl"

    def run(candidate, *words, out=out, **environment):
        words = ["--dialogues", dialogues, "--out", out, "--retries", 0, *words]
        return distill("eval", "answer", candidate, *words, **environment)

    run.out, run.dialogues = out, dialogues
    return run


def test_an_endpoint_answers_every_dialogue_in_their_order(ask):
    with StubEndpoint(echo) as endpoint:
        done = ask(endpoint.url, "--model", "m", "--seed", 3, "--json")
    assert done.returncode == 0, done.stderr
    found, lines = json.loads(done.stdout), lines_of(ask.out)
    assert [line["dialogue_id"] for line in lines] == ["d0", "d1", "d2", "d3"]
    assert lines[1]["text"] == "You said My dog number 1 ran away."
    digest = digest_text(f"{endpoint.url} m")
    assert {line["artifact_sha256"] for line in lines} == {digest}
    assert (found["answers"], found["candidate"], found["artifact_sha256"]) == (4, "m", digest)
    assert (found["mean_words"], found["ended_share"], found["loops"]) == (8.0, 1.0, 0)
    assert found["distinct_1"] == pytest.approx(11 / 32)
    assert all(Answer.model_validate(line).tokens == 8 for line in lines)
    request = endpoint.requests[0]
    assert (request["temperature"], request["seed"], request["max_tokens"]) == (0.0, 3, 256)
    assert list(ask.out.parent.iterdir()) == [ask.out]


def test_replies_that_are_cut_off_or_empty_are_shown_as_such(ask):
    with StubEndpoint(lambda text: "", finish_reason="length") as endpoint:
        found = json.loads(ask(endpoint.url, "--model", "m", "--json").stdout)
    assert (found["ended_share"], found["empty"], found["mean_words"]) == (0.0, 4, 0.0)
    assert found["distinct_1"] is None


def test_a_file_is_answered_by_the_runtime_and_repeats_exactly(ask, tiny_gguf):
    runs = []
    for _ in range(2):
        done = ask(tiny_gguf, "--name", "tiny", "--max-tokens", 6, "--limit", 2, "--json")
        assert done.returncode == 0, done.stderr
        runs.append(lines_of(ask.out))
    found = json.loads(done.stdout)
    assert found["artifact_sha256"] == sha256_of(tiny_gguf)
    assert [line["text"] for line in runs[0]] == [line["text"] for line in runs[1]]
    for line in runs[0]:
        assert line["candidate"] == "tiny" and line["finish_reason"] in ("stop", "length")
        assert line["tokens"] <= 6 and line["first_token_s"] > 0


def test_a_served_file_is_judged_by_its_own_words_and_not_by_its_guards(tmp_path, tiny_gguf):
    turn = Turn(role="user", content="I want to kill myself tonight.")
    dialogue = Dialogue(id="d", source="test", turns=[turn], split="test")
    with served(tiny_gguf) as server:
        chat = OpenAIChat(server.model, base_url=server.url, api_key="local")
        shown = chat.reply(dialogue.messages(), Sampling(4)).text
    with open_candidate(str(tiny_gguf), CandidateOptions()) as candidate:
        ((_, reply),) = candidate.replies([dialogue], Sampling(4))
    assert "please reach a person now" in shown
    assert "person" not in reply.text and reply.text in shown


def test_a_checkpoint_folder_answers(ask, checkpoint):
    done = ask(checkpoint, "--max-tokens", 6, "--json")
    assert done.returncode == 0, done.stderr
    found, lines = json.loads(done.stdout), lines_of(ask.out)
    assert (found["candidate"], found["artifact_sha256"]) == ("tiny", sha256_of(checkpoint))
    assert all(line["tokens"] <= 6 and line["first_token_s"] > 0 for line in lines)


def texts_of(folder, dialogues, sampling, at_once=3):
    with opened(str(folder), CandidateOptions(at_once=at_once)) as candidate:
        return [reply.text for _, reply in candidate.replies(dialogues, sampling)]


def test_a_checkpoint_answers_in_batches_as_it_does_one_by_one(ask, checkpoint):
    dialogues = read_dialogues(ask.dialogues)
    batched, single = (texts_of(checkpoint, dialogues, Sampling(6), n) for n in (3, 1))
    assert batched == single and len(batched) == 4


def test_a_sampled_checkpoint_repeats_with_its_seed(ask, checkpoint):
    dialogues = read_dialogues(ask.dialogues)
    first, again, other = (
        texts_of(checkpoint, dialogues, Sampling(6, 1.0, seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_answers_on_its_base_and_has_its_own_digest(ask, checkpoint, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    student = AutoModelForCausalLM.from_pretrained(checkpoint)
    adapter = tmp_path / "adapter"
    get_peft_model(student, LoraConfig(r=2, target_modules=["q_proj"])).save_pretrained(adapter)
    dialogues = read_dialogues(ask.dialogues)
    with opened(str(adapter), CandidateOptions()) as candidate:
        texts = [reply.text for _, reply in candidate.replies(dialogues, Sampling(4))]
        assert candidate.sha256 not in (sha256_of(checkpoint), sha256_of(adapter))
    assert texts == texts_of(checkpoint, dialogues, Sampling(4))  # a fresh adapter adds nothing


@pytest.mark.parametrize(
    ("file", "reason"),
    [("chat_template.jinja", "has no chat template"), ("model.safetensors", "cannot be loaded")],
)
def test_a_checkpoint_that_lacks_a_part_is_refused(checkpoint, tmp_path, file, reason):
    bare = shutil.copytree(checkpoint, tmp_path / "bare")
    (bare / file).unlink()
    with pytest.raises(BadInput, match=reason):
        texts_of(bare, [], Sampling())


def test_an_adapter_that_names_no_base_is_refused(ask, tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "names no base_model_name_or_path" in error_line(ask(tmp_path))


def test_a_checkpoint_without_torch_names_the_extra(ask, checkpoint, tmp_path):
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'torch' else find(name, *rest)\n"
    )
    line = error_line(ask(checkpoint, PYTHONPATH=str(hidden)))
    assert "needs torch" in line and "kindred-slm[train]" in line


def test_candidates_that_are_none_are_refused(ask, tmp_path):
    assert "does not exist" in error_line(ask(tmp_path / "nothing.gguf"))
    assert "is a folder without" in error_line(ask(tmp_path))
    assert "needs a model" in error_line(ask("http://127.0.0.1:9/v1"))


def test_an_endpoint_that_is_not_there_is_refused_and_leaves_nothing(ask):
    line = error_line(ask("http://127.0.0.1:9/v1", "--model", "m"))
    assert "cannot be reached" in line
    assert list(ask.out.parent.iterdir()) == []


def test_a_file_that_cannot_be_served_is_refused_with_the_runtimes_reason(ask, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"not a model")
    line = error_line(ask(broken))
    assert "did not start" in line and "is not a GGUF file" in line
    assert not ask.out.exists()


def test_a_dialogue_that_an_endpoint_refuses_is_named(ask):
    with StubEndpoint(echo, status=lambda call: 400 if call == 3 else 200) as endpoint:
        line = error_line(ask(endpoint.url, "--model", "m", "--concurrency", 1))
    assert "dialogue 'd2'" in line and "scripted status 400" in line


def test_a_dialogue_longer_than_a_checkpoint_can_read_is_named(checkpoint):
    turn = Turn(role="user", content="My dog ran away. " * 2000)
    dialogue = Dialogue(id="long", source="test", turns=[turn], split="test")
    with pytest.raises(BadInput, match="dialogue 'long' takes"):
        texts_of(checkpoint, [dialogue], Sampling())


def test_an_endpoint_that_breaks_off_is_refused(ask):
    with StubEndpoint(echo, finish_reason=None) as endpoint:
        assert "cut its answer off" in error_line(ask(endpoint.url, "--model", "m"))


def test_unusable_outputs_and_dialogues_are_refused_before_anything_is_asked(ask, tmp_path):
    with StubEndpoint(echo) as endpoint:
        words = [endpoint.url, "--model", "m"]
        assert "is a folder" in error_line(ask(*words, out=tmp_path))
        blocked = ask.dialogues / "x.jsonl"
        assert "cannot be written" in error_line(ask(*words, out=blocked))
        whole = ask.dialogues.read_text()
        ask.dialogues.write_text("")
        assert "holds no dialogues" in error_line(ask(*words))
        ask.dialogues.write_text(whole + '{"id": "x"}\n')
        assert "test.jsonl:5:" in error_line(ask(*words))
        assert endpoint.requests == []


def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path):
    answers = write_answers(tmp_path / "answers.jsonl", "x", ["Hello."] * 50)
    with pytest.raises(BadInput) as refused:
        read_dialogues(answers)
    said = str(refused.value)
    assert "\n" not in said and "is another kind of file: it has dialogue_id," in said
    assert said.endswith("of type Dialogue has id, source, turns, split")
    with pytest.raises(BadInput, match=r"test.jsonl is another kind .* of type Answer has"):
        read_answers(write_dialogues(tmp_path / "test.jsonl"))


def lines_beside(out):
    """Lines of what an unfinished run has written so far."""
    return sum(path.read_text().count("\n") for path in out.parent.iterdir())


def test_a_killed_run_asks_only_for_what_is_missing(ask):
    """The endpoint answers two dialogues and holds the third until the run was killed."""
    third, killed = threading.Event(), threading.Event()

    def holds_the_third(text):
        if "number 2" in text and not killed.is_set():
            third.set()
            killed.wait()
        return echo(text)

    with StubEndpoint(holds_the_third) as endpoint:
        words = ["eval", "answer", endpoint.url, "--model", "m", "--concurrency", "1"]
        words += ["--dialogues", str(ask.dialogues), "--out", str(ask.out)]
        with subprocess.Popen([sys.executable, "-m", "distill", *words], cwd=ROOT) as running:
            assert third.wait(60)
            deadline = time.monotonic() + 60
            while lines_beside(ask.out) < 2 and time.monotonic() < deadline:
                continue
            running.kill()
        killed.set()
        assert not ask.out.exists()
        asked = len(endpoint.requests)
        assert ask(endpoint.url, "--model", "m").returncode == 0
        assert asked == 3 and len(endpoint.requests) == 5
    assert len(lines_of(ask.out)) == 4 and list(ask.out.parent.iterdir()) == [ask.out]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_a_killed_run_leaves_no_server_behind(tiny_gguf):
    code = (
        "import sys; from pathlib import Path; from distill.core.serving import served\n"
        "with served(Path(sys.argv[1])) as server:\n"
        "    print(server.pid, flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", code, str(tiny_gguf)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(argv, cwd=ROOT, **pipes) as parent:
        server = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    server.wait(30)
    assert not server.is_running()
