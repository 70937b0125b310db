"""`distill export onnx` and `distill export verify` of a folder, as people run them."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import runtime
from distill.core.errors import BadInput, CheckFailed, MissingExtra, Unavailable, Unsupported
from distill.core.manifest import check_files, manifest_path, read_manifest
from export import onnx as exporting
from export import onnx_build, parity
from export.calibration import calibration, calibration_path
from export.checkpoint import open_checkpoint
from export.importance import importance_of
from export.making import Order
from export.onnx_blocks import INT4_BITS, INT8_BITS, blocks_of, change_of
from export.onnx_build import complete_config, refuse_unknown, run_builder, write_merged
from export.onnx_counts import read_back
from export.onnx_mixture import MORE_BITS, mixture_of, prices_of
from export.onnx_session import OnnxSession
from export.onnx_weights import Mixture, half, narrow, unit_of
from export.parity import texts_for
from tests.export.commands import export, left_behind, one_line
from tests.export.students import few_dialogues, lively_student
from tests.models import tiny_checkpoint

HELLO = [{"role": "user", "content": "I lost my job"}]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A checkpoint, its 4-bit folder and what the command said."""
    folder = tiny_checkpoint(tmp_path_factory.mktemp("run") / "student")
    text = few_dialogues(folder.parent / "few.jsonl")
    done = export("onnx", folder, "--bits", 4, "--imatrix", text, "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def copy_of(exported, folder: Path) -> Path:
    """The exported folder with what stands beside it, elsewhere."""
    source = Path(exported[1]["path"])
    shutil.copytree(source, folder / source.name)
    for path in (manifest_path(source), calibration_path(source)):
        shutil.copy(path, folder / path.name)
    return folder / source.name


def test_a_student_becomes_a_four_bit_folder_that_is_still_the_student(exported):
    folder, said = exported
    assert said["path"] == str(folder.parent / "edge" / "student-onnx-int4")
    assert said["gate"]["passed"] is True
    assert said["gate"]["identical"][:2] == ["chat template", "rendered prompts"]
    assert said["quantized_layers"] == said["linear_layers"] > 0
    assert set(said["layers_by_bits"]) <= {"4", "8"}
    assert said["accuracy_level"] == 4 and said["block_size"] == 32
    norms = 8 * said["bytes_by_class"]["norm"] / said["parameters"]
    assert INT4_BITS < said["bits_per_weight"] <= INT4_BITS + MORE_BITS + norms + 0.01


def test_the_manifest_has_every_file_and_nothing_else_is_left(exported):
    path = Path(exported[1]["path"])
    manifest = read_manifest(path)
    named = sorted(file.path for file in manifest.files)
    text = calibration_path(path).name
    assert named == sorted([*(f"{path.name}/{file.name}" for file in path.iterdir()), text])
    assert {f"{path.name}/model.onnx", f"{path.name}/tokenizer.json"} <= set(named)
    beside = sorted(file.name for file in path.parent.iterdir())
    assert beside == ["README.md", path.name, text, manifest_path(path).name]
    assert manifest.quantization["format"] == "onnx"
    assert manifest.quantization["importance"]["text"] == "few.jsonl"
    weights = sum(manifest.quantization["bytes_by_class"].values())
    assert 8 * weights / manifest.quantization["parameters"] == pytest.approx(
        manifest.quantization["bits_per_weight"], abs=1e-3
    )


def test_whoever_may_read_one_file_of_the_folder_may_read_all(exported):
    folder = Path(exported[1]["path"])
    assert len({file.stat().st_mode for file in folder.iterdir()}) == 1


def test_the_card_says_how_the_folder_is_run(exported):
    path = Path(exported[1]["path"])
    card = (path.parent / "README.md").read_text()
    assert f"distill runtime serve {path.name} --port" in card
    assert f'onnxruntime_genai.Model("{path.name}")' in card and "llama-server" not in card
    assert f"| `{path.name}`: ONNX int4 | torch |" in card
    assert "library_name: onnxruntime-genai" in card


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


def test_verify_finds_a_changed_calibration_text(exported, tmp_path):
    folder = copy_of(exported, tmp_path)
    with calibration_path(folder).open("a") as text:
        text.write("\n")
    with pytest.raises(CheckFailed, match=r"imatrix\.jsonl does not match"):
        check_files(folder)


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A student whose heads are together wider than its layers, and its float32 graph."""
    folder = tmp_path_factory.mktemp("graph")
    checkpoint = open_checkpoint(lively_student(folder / "student", "qwen3", head_dim=128))
    (folder / "float32").mkdir()
    run_builder(checkpoint, checkpoint.folder, folder / "float32", folder / "scratch")
    complete_config(checkpoint, folder / "float32" / "genai_config.json")
    checkpoint.tokenizer.save_pretrained(folder / "float32")
    return checkpoint, folder / "float32"


def narrowed(graph, folder: Path, bits: int, wide=()) -> Path:
    shutil.copytree(graph[1], folder)
    narrow(folder, bits, tied=False, mixture=Mixture(wide))
    return folder


def figures(graph, folder: Path, bits: int):
    (link,) = exporting.judged(graph[0], folder, bits, texts_for(None))["links"]
    return link


def test_sixteen_bits_agree_with_torch_to_the_last_bits(graph, tmp_path):
    link = figures(graph, narrowed(graph, tmp_path / "edge", 16), 16)
    assert link["failed"] == [] and link["mean_kld"] < 1e-5


def test_eight_bits_agree_and_the_embedding_has_blocks_of_its_own(graph, tmp_path):
    folder = narrowed(graph, tmp_path / "edge", 8)
    found = read_back(folder, 8, exporting.parameters_of(graph[0]))
    assert found.embedding == "int8" and INT8_BITS < found.bits_per_weight < INT8_BITS + 0.3
    assert found.layers_by_bits == {"8": found.linear_layers}
    # The top-1 of random weights is a toss-up between near ties, so that divergence decides.
    assert figures(graph, folder, 8)["mean_kld"] < 0.001


def test_parts_that_keep_eight_bits_cost_bytes_and_save_divergence(graph, tmp_path):
    plain = narrowed(graph, tmp_path / "plain", 4)
    wide = narrowed(graph, tmp_path / "wide", 4, wide={"head", "layer 1 qkv", "layer 1 down"})
    counts = [read_back(f, 4, exporting.parameters_of(graph[0])) for f in (plain, wide)]
    assert counts[0].layers_by_bits == {"4": counts[0].linear_layers}
    assert counts[1].layers_by_bits["8"] == 3
    assert counts[0].bits_per_weight < counts[1].bits_per_weight
    klds = [figures(graph, folder, 4)["mean_kld"] for folder in (plain, wide)]
    assert klds[1] < klds[0]


def test_parts_are_chosen_within_their_bytes_by_what_they_lose(lively):
    importance = importance_of(lively, calibration(None, []).conversations[:4])
    prices, inputs = prices_of(lively, importance)
    units = {"qkv", "o", "gate", "up", "down"}
    assert prices.keys() == {f"layer {n} {u}" for n in (0, 1) for u in units} | {"head"}
    assert inputs.keys() == prices.keys()
    chosen = mixture_of(lively, importance).wide
    assert set() < chosen < prices.keys()
    weights = {unit: 8 * kinds["INT4"].size_bytes / INT4_BITS for unit, kinds in prices.items()}
    spent = sum(weights[unit] * (INT8_BITS if unit in chosen else INT4_BITS) for unit in weights)
    assert spent <= (INT4_BITS + MORE_BITS) * sum(weights.values()) + 8


def unpacked(blocks):
    """What onnxruntime makes of blocks of 4 bits, the slow way."""
    rows, count, _ = blocks.values.shape
    found = np.empty((rows, count, 32), np.float32)
    for row, block, place in np.ndindex(found.shape):
        value = blocks.values[row, block, place // 2] >> 4 * (place % 2) & 15
        zero = blocks.zeros[row, block // 2] >> 4 * (block % 2) & 15
        found[row, block, place] = (int(value) - int(zero)) * float(blocks.scales[row, block])
    return found.reshape(rows, -1)


def test_blocks_hold_the_matrix_and_what_was_changed_is_known():
    torch.manual_seed(0)
    rows = torch.randn(5, 80)
    change = change_of(rows, 4)
    restored = unpacked(blocks_of(rows, 4))
    assert np.abs(restored[:, :80] - (rows + change).numpy()).max() < 1e-6
    assert not restored[:, 80:].any()
    low, high = rows[:, :32].amin(1, keepdim=True), rows[:, :32].amax(1, keepdim=True)
    step = (high - low) / 15
    plain = ((rows[:, :32] - low) / step).round() * step + low - rows[:, :32]
    assert change[:, :32].square().sum() < 1.1 * plain.square().sum()
    assert change_of(torch.zeros(2, 32), 4).abs().max() == 0
    assert change_of(rows, 8).square().mean() < change.square().mean() / 100


def test_inputs_that_matter_more_are_rounded_nearer():
    torch.manual_seed(0)
    rows, inputs = torch.randn(64, 64), torch.ones(64)
    inputs[:8] = 100.0
    plain, weighed = (change_of(rows, 4, i).square() @ inputs for i in (None, inputs))
    assert weighed.sum() < plain.sum()


def test_values_beyond_a_float16_scale_are_refused():
    with pytest.raises(Unsupported, match="values that blocks of 32"):
        blocks_of(torch.full((1, 32), 1e7), 4)
    with pytest.raises(Unsupported, match="values that blocks of 32"):
        blocks_of(torch.full((1, 32), torch.nan), 8)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("model.layers.3.self_attn.q_proj.weight", "layer 3 qkv"),
        ("/model/layers.3/attn/qkv_proj/MatMul", "layer 3 qkv"),
        ("/model/layers.12/mlp/down_proj/MatMul", "layer 12 down"),
        ("/lm_head/MatMul", "head"),
        ("model.embed_tokens.weight", "head"),
        ("model.layers.3.input_layernorm.weight", None),
    ],
)
def test_tensors_and_nodes_of_one_part_have_one_name(name, unit):
    assert unit_of(name) == unit


def test_a_quantization_that_changed_nothing_is_refused(tiny_onnx):
    with pytest.raises(CheckFailed, match=r"0 of \d+ linear layers have them"):
        read_back(tiny_onnx, 8, 1000)


def test_ends_and_the_penalty_of_the_checkpoint_are_in_the_config(tmp_path):
    student = lively_student(tmp_path / "student")
    (student / "generation_config.json").write_text(
        json.dumps({"eos_token_id": [4, 2], "repetition_penalty": 1.2})
    )
    path = tmp_path / "genai_config.json"
    path.write_text('{"model": {}, "search": {}}')
    complete_config(open_checkpoint(student), path)
    config = json.loads(path.read_text())
    assert config["model"]["eos_token_id"] == [4, 2]
    assert config["search"]["repetition_penalty"] == 1.2


def ordered() -> Order:
    return Order("f16", "", texts_for(None))


def test_a_folder_that_fails_the_gate_is_not_kept(tiny_folder, tiny_onnx, tmp_path, monkeypatch):
    def again(checkpoint, folder, bits, mixture):
        shutil.copytree(tiny_onnx, folder, dirs_exist_ok=True)

    monkeypatch.setattr(onnx_build, "build", again)
    monkeypatch.setitem(parity.LIMITS, 16, parity.Limit(0.0, 1.0))
    with pytest.raises(CheckFailed, match=r"the gate failed: ONNX f16 against .*--text takes"):
        exporting.write(open_checkpoint(tiny_folder), tmp_path / "edge", 16, ordered())
    assert left_behind(tmp_path) == []


def test_a_folder_is_replaced_whole_and_one_of_other_things_is_not(
    tiny_folder, tiny_onnx, tmp_path, monkeypatch
):
    def again(checkpoint, folder, bits, mixture):
        shutil.copytree(tiny_onnx, folder, dirs_exist_ok=True)

    monkeypatch.setattr(onnx_build, "build", again)
    target, checkpoint = tmp_path / "edge", open_checkpoint(tiny_folder)
    target.mkdir()
    (target / "model.onnx").write_text("old")
    exporting.write(checkpoint, target, 16, ordered())
    assert check_files(target).parity["passed"] is True
    assert left_behind(tmp_path)[0] == "README.md", "no workshop is left"
    (target / "diary.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"holds diary\.txt, which this command does not write"):
        exporting.write(checkpoint, target, 16, ordered())


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("llama", {"head_dim": 24}, "heads of width 24; onnxruntime runs multiples of 16"),
        (
            "qwen3",
            {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}},
            "stretches its positions by YaRN, which the builder computes otherwise",
        ),
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
    checkpoint = open_checkpoint(lively_student(tmp_path / "student"))
    monkeypatch.setattr(onnx_build, "BUILDER", "json.tool")
    with pytest.raises(Unsupported, match=r"cannot build .*: .*json\.tool: error: "):
        run_builder(checkpoint, checkpoint.folder, tmp_path / "edge", tmp_path / "scratch")
    monkeypatch.setattr(onnx_build.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="needs the extra 'onnx'"):
        run_builder(checkpoint, checkpoint.folder, tmp_path / "edge", tmp_path / "scratch")


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # of peft 0.21
def test_an_adapter_is_merged_into_the_checkpoint_that_the_builder_reads(tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = lively_student(tmp_path / "base")
    settings = LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings)
    student = tmp_path / "student"
    tuned.save_pretrained(student)
    AutoTokenizer.from_pretrained(base).save_pretrained(student)
    adapted = open_checkpoint(student)
    merged = open_checkpoint(write_merged(adapted, tmp_path / "merged"))
    assert adapted.adapter and not merged.adapter
    assert all(
        np.array_equal(tensor, dict(merged.tensors())[name]) for name, tensor in adapted.tensors()
    )


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
        exporting.write(checkpoint, tmp_path / "file" / "edge", 4, ordered())
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(Unavailable, match="needs about"):
        exporting.write(checkpoint, tmp_path / "edge" / "folder", 4, ordered())


def test_bits_that_are_not_known_are_refused(tmp_path):
    done = export("onnx", tmp_path, "--bits", 5)
    assert done.returncode == 2 and "choose 16, 8 or 4" in one_line(done)
