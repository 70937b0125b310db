"""`distill export onnx` and `distill export verify` of a folder, as people run them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import runtime
from distill.core.errors import BadInput, CheckFailed, MissingExtra, Unavailable, Unsupported
from distill.core.manifest import manifest_path, read_manifest
from export import onnx as exporting
from export import onnx_build, parity
from export.checkpoint import open_checkpoint
from export.onnx_build import build, refuse_unknown
from export.onnx_counts import read_back
from export.onnx_session import OnnxSession
from export.onnx_weights import half
from export.parity import texts_for
from tests.export.commands import export, left_behind, one_line
from tests.export.students import lively_student
from tests.models import tiny_checkpoint

HELLO = [{"role": "user", "content": "I lost my job"}]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A checkpoint, its 4-bit folder and what the command said."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("run") / "student")
    done = export("onnx", folder, "--bits", 4, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def copy_of(exported, folder: Path) -> Path:
    """The exported folder with its manifest, elsewhere."""
    source = Path(exported[1]["path"])
    shutil.copytree(source, folder / source.name)
    shutil.copy(manifest_path(source), manifest_path(folder / source.name))
    return folder / source.name


def built(student: Path, folder: Path, bits: int) -> Path:
    folder.mkdir(parents=True)
    build(open_checkpoint(student), folder, bits)
    return folder


def test_a_student_becomes_a_four_bit_folder_that_is_still_the_student(exported):
    folder, said = exported
    assert said["path"] == str(folder.parent / "edge" / "student-onnx-int4")
    assert said["gate"]["passed"] is True
    assert said["gate"]["identical"][:2] == ["chat template", "rendered prompts"]
    assert said["quantized_layers"] == said["linear_layers"] > 0
    assert set(said["layers_by_bits"]) <= {"4", "8"}
    assert said["accuracy_level"] == 4 and said["block_size"] == 32
    assert 4 < said["bits_per_weight"] < 10


def test_the_manifest_has_every_file_and_nothing_else_is_left(exported):
    path = Path(exported[1]["path"])
    manifest = read_manifest(path)
    named = sorted(file.path for file in manifest.files)
    assert named == sorted(f"{path.name}/{file.name}" for file in path.iterdir())
    assert {f"{path.name}/model.onnx", f"{path.name}/tokenizer.json"} <= set(named)
    beside = sorted(file.name for file in path.parent.iterdir())
    assert beside == [path.name, f"{path.name}.manifest.json"]
    assert manifest.quantization["format"] == "onnx"


def test_the_runtime_chats_with_the_folder(exported):
    with runtime.load(exported[1]["path"]) as engine:
        pieces = list(engine.chat(HELLO, max_tokens=4))
        assert pieces[-1].finish_reason in ("stop", "length")


def test_verify_finds_the_folder_unchanged(exported):
    done = export("verify", exported[1]["path"])
    assert done.returncode == 0, done.stderr
    assert "still its student" in done.stdout


@pytest.mark.parametrize("name", ["model.onnx.data", "chat_template.jinja", "genai_config.json"])
def test_verify_and_runtime_find_one_changed_byte(exported, tmp_path, name):
    folder = copy_of(exported, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckFailed, match=f"{name} does not match its manifest"):
        runtime.load(folder)


def test_verify_counts_operators_again(exported, tmp_path):
    folder = copy_of(exported, tmp_path)
    record = read_manifest(folder).quantization | {"quantized_layers": 1}
    found = exporting.compared(folder, exported[0], None, record)
    assert found["failed"] == ["the manifest's quantization differs in quantized_layers"]


@pytest.mark.parametrize("kind", ["mistral", "qwen2", "qwen3"])
def test_other_architectures_agree_with_torch_to_the_last_bits(tmp_path, kind):
    changes = {"head_dim": 64} if kind == "qwen3" else {}
    student = lively_student(tmp_path / kind, kind, **changes)
    folder = built(student, tmp_path / "edge", 16)
    found = exporting.judged(open_checkpoint(student), folder, 16, texts_for(None))
    assert found["failed"] == []
    assert found["links"][0]["mean_kld"] < 1e-5


def test_eight_bits_agree_and_a_tied_embedding_shares_the_heads_blocks(tmp_path):
    student = lively_student(tmp_path / "student", tie_word_embeddings=True)
    folder = built(student, tmp_path / "edge", 8)
    checkpoint = open_checkpoint(student)
    found = read_back(folder, 8, exporting.parameters_of(checkpoint))
    assert found.embedding == "int8" and found.bits_per_weight < 9.5
    # The top-1 of random weights is a toss-up between near ties, so that divergence decides.
    assert exporting.judged(checkpoint, folder, 8, texts_for(None))["links"][0]["mean_kld"] < 0.001


def test_an_embedding_of_its_own_has_sixteen_bits_beside_eight(tmp_path):
    student = lively_student(tmp_path / "student")
    folder = built(student, tmp_path / "edge", 8)
    checkpoint = open_checkpoint(student)
    found = read_back(folder, 8, exporting.parameters_of(checkpoint))
    assert found.embedding == "float16"
    # The top-1 of random weights is a toss-up between near ties, so that divergence decides.
    assert exporting.judged(checkpoint, folder, 8, texts_for(None))["links"][0]["mean_kld"] < 0.001


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A checkpoint that recommends a penalty, and its folder with float16 weights."""
    folder = tmp_path_factory.mktemp("plain")
    student = lively_student(folder / "student")
    (student / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [4, 2], "repetition_penalty": 1.2})
    )
    return student, built(student, folder / "edge", 16)


def test_a_quantization_that_changed_nothing_is_refused(plain):
    with pytest.raises(CheckFailed, match=r"0 of \d+ linear layers have them"):
        read_back(plain[1], 8, 1000)


def test_ends_and_the_penalty_of_the_checkpoint_are_in_the_config(plain):
    config = json.loads((plain[1] / "genai_config.json").read_text())
    assert config["model"]["eos_token_id"] == [4, 2]
    assert config["search"]["repetition_penalty"] == 1.2


def test_a_folder_that_fails_the_gate_is_not_kept(plain, tmp_path, monkeypatch):
    def again(checkpoint, folder, bits):
        shutil.copytree(plain[1], folder, dirs_exist_ok=True)

    monkeypatch.setattr(onnx_build, "build", again)
    monkeypatch.setitem(parity.LIMITS, 16, parity.Limit(0.0, 1.0))
    with pytest.raises(CheckFailed, match="was not written, the gate failed: ONNX f16 against"):
        exporting.write(open_checkpoint(plain[0]), tmp_path / "edge", 16, texts_for(None))
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"head_dim": 24}, "heads of width 24; onnxruntime runs multiples of 16"),
        ("mistral", {"sliding_window": 32}, r"the last 32 tokens only \(sliding_window\)"),
    ],
)
def test_what_the_builder_would_write_wrong_is_refused(tmp_path, kind, changes, message):
    student = lively_student(tmp_path / "student", kind, **changes)
    with pytest.raises(Unsupported, match=message):
        refuse_unknown(open_checkpoint(student))


def test_an_architecture_that_was_never_compared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_build, "KNOWN", ("qwen3",))
    student = lively_student(tmp_path / "student")
    with pytest.raises(Unsupported, match="which the ONNX export does not know; it knows: qwen3"):
        refuse_unknown(open_checkpoint(student))


def test_what_the_builder_says_is_one_line(tmp_path, monkeypatch):
    student = lively_student(tmp_path / "student")
    monkeypatch.setitem(onnx_build.PRECISION, 16, "fp99")
    with pytest.raises(Unsupported, match=r"cannot build .* invalid choice: 'fp99'"):
        built(student, tmp_path / "edge", 16)
    monkeypatch.setattr(onnx_build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs the extra 'onnx'"):
        built(student, tmp_path / "other", 16)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft 0.21
def test_an_adapter_is_merged_before_it_is_built(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = lively_student(tmp_path / "base")
    settings = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    student = tmp_path / "student"
    tuned.save_pretrained(student)
    AutoTokenizer.from_pretrained(base).save_pretrained(student)
    folder = built(student, tmp_path / "edge", 16)
    assert not (folder / "merged").exists()
    found = exporting.judged(open_checkpoint(student), folder, 16, texts_for(None))
    assert found["failed"] == [] and found["links"][0]["mean_kld"] < 1e-5


def test_a_matrix_beyond_float16_is_refused():
    for value in (1e6, np.nan):
        tensor = numpy_helper.from_array(np.array([[value]], np.float32), "wide")
        with pytest.raises(Unsupported, match="wide holds values that float16 cannot"):
            half(tensor)
    assert half(onnx.numpy_helper.from_array(np.ones((1, 1), np.float32), "w")).dtype == np.float16


def test_a_folder_that_the_runtime_does_not_open_fails_the_gate(tmp_path):
    with pytest.raises(CheckFailed, match="the runtime does not open"):
        OnnxSession(tmp_path, context=64, batch=64)


def test_a_full_disk_and_a_file_in_the_way_are_refused(tmp_path, monkeypatch):
    checkpoint = open_checkpoint(lively_student(tmp_path / "student"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadInput, match="is a file; choose another --out"):
        exporting.refuse_full_disk(checkpoint, tmp_path / "file" / "edge")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Unavailable, match="needs about"):
        exporting.refuse_full_disk(checkpoint, tmp_path / "edge")


def test_bits_that_are_not_known_are_refused(tmp_path):
    done = export("onnx", tmp_path, "--bits", 5)
    assert done.returncode == 2 and "choose 16, 8 or 4" in one_line(done)
