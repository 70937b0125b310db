"""What the report refuses: figures of another file, and folders that it cannot tell apart."""

import pytest

from distill.core.errors import BadInput, CheckFailed, MissingInput
from distill.core.jsonl import digest_text, write_json
from eval.pages.evidence import read_evidence
from eval.pages.joining import refuse_foreign
from tests.eval.pairs import distill, error_line
from tests.eval.run_folder import RunFolder

OTHER = digest_text("another file")


@pytest.fixture
def run(tmp_path):
    pairs = [(f"Dog {n} ran away.", f"Dear dog {n}.", f"Well {n}.") for n in range(3)]
    return RunFolder(tmp_path / "run", pairs).write_all()


def refusal(run, kind=CheckFailed) -> str:
    with pytest.raises(kind) as caught:
        refuse_foreign(read_evidence(run.path))
    return str(caught.value)


def test_a_check_that_says_no_is_one_line_and_writes_nothing(run):
    run.write_latency(sha256=OTHER)
    done = distill("eval", "report", run.path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (run.path / "report").exists()


def test_latency_of_another_file_is_refused(run):
    run.write_latency(sha256=OTHER)
    said = refusal(run)
    assert f"latency.json does not belong to {run.artifact} (sha256 {OTHER[:8]}" in said
    assert "distill eval latency" in said


def test_latency_that_states_no_file_is_refused(run):
    run.change_latency(artifact_sha256=None)
    assert "it states no sha256" in refusal(run)


def test_answers_of_another_file_are_refused(run):
    run.write_answers(student_sha256=OTHER)
    said = refusal(run)
    assert "student.jsonl does not belong to" in said and "distill eval answer" in said


def test_a_win_rate_of_another_file_is_refused_even_without_its_answers(run):
    run.change_winrate(candidates={"student": {"artifact_sha256": OTHER}})
    (run.path / "answers/student.jsonl").unlink()
    said = refusal(run)
    assert "winrate.json does not belong to" in said and "distill eval winrate" in said


def test_verdicts_on_answers_that_changed_since_are_refused(run):
    run.pairs[0] = (run.pairs[0][0], "Another reply.", run.pairs[0][2])
    run.write_answers()
    assert "is about other answers than" in refusal(run)


def test_answers_of_an_older_base_are_refused(run):
    run.write_artifact("base")
    said = refusal(run)
    assert "base.jsonl does not belong to" in said and "base-Q4_K_M.gguf" in said


def test_a_student_that_was_trained_again_since_its_export_is_refused(run):
    run.write_student(recipe="another recipe")
    assert "was made from another recipe" in refusal(run)


def test_sets_that_were_composed_again_since_training_are_refused(run):
    (run.path / "sets/sft.jsonl").write_text("{}\n")
    assert "is not what" in refusal(run)


def test_a_file_that_differs_from_its_manifest_is_refused(run):
    run.artifact.write_bytes(b"GGUF of something else")
    assert "does not match its manifest" in refusal(run)


def test_a_manifest_is_enough_when_the_file_went_to_a_phone(run):
    run.artifact.unlink()
    refuse_foreign(read_evidence(run.path))


def test_a_manifest_of_something_else_is_refused(run):
    run.write_artifact(files=[])
    assert "does not name student-Q4_K_M.gguf" in refusal(run)


def test_a_folder_with_nothing_to_report_is_refused(tmp_path):
    said = error_line(distill("eval", "report", tmp_path))
    assert "holds nothing to report" in said and "distill export gguf" in said


def test_what_is_no_folder_is_refused(tmp_path):
    with pytest.raises(MissingInput, match="is no folder"):
        read_evidence(tmp_path / "nowhere")


def test_several_exports_of_the_student_need_a_choice(run):
    (run.path / "edge/student-Q8_0.gguf.manifest.json").write_bytes(
        (run.path / "edge/student-Q4_K_M.gguf.manifest.json").read_bytes()
    )
    assert "--artifact student-Q4_K_M.gguf" in refusal(run, BadInput)
    chosen = read_evidence(run.path, "student-Q4_K_M.gguf").artifact
    assert chosen and chosen.path == run.artifact
    with pytest.raises(MissingInput, match=r"there are: student-Q4_K_M.gguf, student-Q8_0.gguf"):
        read_evidence(run.path, "student-F16.gguf")


def test_two_answer_files_of_one_candidate_are_refused(run):
    text = (run.path / "answers/student.jsonl").read_text()
    (run.path / "answers/student-again.jsonl").write_text(text)
    assert "both hold answers of 'student'" in refusal(run, BadInput)


def test_a_win_rate_that_is_no_object_is_refused(run):
    write_json(run.path / "judged/winrate.json", [])
    assert "holds no JSON object" in refusal(run, BadInput)
