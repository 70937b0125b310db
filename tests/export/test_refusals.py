"""What `distill export gguf` refuses: one line that names the thing and the remedy, exit code 2."""

import json
import resource
import subprocess
import sys

import pytest

from tests.export.commands import ROOT, export, export_process, left_behind, one_line
from tests.export.students import linked_copy
from tests.models import tiny_checkpoint


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny_checkpoint(tmp_path_factory.mktemp("whole") / "student")


@pytest.fixture
def student(whole, tmp_path):
    """A copy that a test may break; weights are linked, not copied."""
    return linked_copy(whole, tmp_path / "student")


def rewrite(folder, name, **changes):
    """A JSON file of the copy, with changes; the linked original stays as it is."""
    path = folder / name
    value = json.loads(path.read_text()) | changes
    path.unlink()
    path.write_text(json.dumps(value))


def refusal(student, *words, run=export, **options):
    """The line; nothing may have been written."""
    edge = student.parent / "edge"
    done = run("gguf", student, "--out", edge, *words, **options)
    assert done.returncode == 2, done.stderr
    assert left_behind(edge) == []
    return one_line(done)


def test_a_folder_that_is_not_there(tmp_path):
    for run in (export, export_process):
        assert "nowhere does not exist; give a checkpoint" in refusal(tmp_path / "nowhere", run=run)


def test_a_file_instead_of_a_folder(student):
    assert "is a file; give the folder" in refusal(student / "model.safetensors")


def test_a_folder_without_a_config(tmp_path):
    (tmp_path / "empty").mkdir()
    assert "has no config.json" in refusal(tmp_path / "empty")


def test_an_unknown_architecture(student):
    rewrite(student, "config.json", model_type="mamba")
    line = refusal(student)
    assert "'mamba'" in line and "it knows: llama, mistral, qwen2" in line


def test_a_missing_chat_template(student):
    (student / "chat_template.jinja").unlink()
    assert "has no chat template; put the one" in refusal(student)


def test_a_missing_tokenizer(student):
    (student / "tokenizer.json").unlink()
    assert "has no tokenizer (tokenizer.json); copy it" in refusal(student)


def test_an_adapter_without_its_base(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": "org/base", "peft_type": "LORA", "lora_alpha": 8})
    )
    line = refusal(folder)
    assert "LoRA adapter only" in line and "org/base" in line and "download the base" in line


def test_weights_that_bitsandbytes_quantized(student):
    rewrite(student, "config.json", quantization_config={"quant_method": "bitsandbytes"})
    line = refusal(student)
    assert "'bitsandbytes'" in line and "full-precision" in line


def test_pickled_weights(student):
    (student / "model.safetensors").rename(student / "pytorch_model.bin")
    assert "safe_serialization=True" in refusal(student)


def test_missing_weights(student):
    (student / "model.safetensors").unlink()
    assert "has no model.safetensors" in refusal(student)


def test_weights_that_were_cut_off(student):
    path = student / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[: len(data) // 2])
    assert "is not a whole safetensors file" in refusal(student)


def test_a_shard_that_the_index_names_and_nobody_has(student):
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (student / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00001-of-00002.safetensors does not exist" in refusal(student)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--bits", 9), "--bits 9 is not known; choose one of 16, 8, 7, 6, 5, 4, 3, 2"),
        (("--type", "Q3_X"), "type 'Q3_X' is not known; choose one of: F32, BF16"),
        (("--bits", 4, "--type", "Q4_0"), "give one"),
        (("--text", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("--imatrix", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("--bits", 2, "--imatrix", "none"), "IQ2_M is unusable without an importance matrix"),
        (("--tensor", "nothing=Q8_0"), "--tensor nothing=Q8_0 matches no tensor"),
    ],
)
def test_arguments_that_cannot_be_used(student, words, said):
    assert said in refusal(student, *words)


def test_a_folder_or_file_in_the_way(student):
    (student.parent / "edge.gguf").mkdir()
    done = export("gguf", student, "--out", student.parent / "edge.gguf")
    assert done.returncode == 2 and "edge.gguf is a folder; choose another" in one_line(done)
    done = export("gguf", student, "--out", student / "config.json" / "edge")
    assert done.returncode == 2 and "config.json is a file; choose another" in one_line(done)


def test_a_tokenizer_that_was_cut_off(student):
    path = student / "tokenizer.json"
    text = path.read_text()
    path.unlink()
    path.write_text(text[: len(text) // 2])
    assert "tokenizer.json is not valid JSON" in refusal(student)


def test_a_broken_line_in_the_text(student, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text('{"messages": [{"role": "user", "content": "hi"}]}\n{"messages": []}\n')
    assert "text.jsonl:2: messages:" in refusal(student, "--text", text)


def test_a_full_disk(student):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))

    line = refusal(student, run=export_process, preexec_fn=limit)
    assert "does not take the file" in line and "free some space" in line


@pytest.mark.parametrize("module", ["gguf", "llama_cpp", "torch"])
def test_a_missing_extra(module):
    code = (
        f"import runpy, sys; sys.modules[{module!r}] = None; "
        "sys.argv = ['distill', 'export', 'gguf', 'student']; "
        "runpy.run_module('distill', run_name='__main__')"
    )
    line = [sys.executable, "-c", code]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2, done.stderr
    said = one_line(done)
    assert f"{module} not installed" in said and "pip install 'kindred-slm[export]'" in said
