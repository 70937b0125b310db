"""Quantization: what the name promises, what the file holds, and a loud word where they differ."""

import ctypes

import gguf
import llama_cpp
import pytest

from distill.core.errors import BadInput, Unavailable
from export.calibration import calibration
from export.card import file_lines, too_large
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from export.importance import importance_of
from export.making import Made
from export.mixture import mixed
from export.native_log import captured
from export.parity import SKIPPED
from export.quantize import Plan, chosen_tensors, matrices_of, quantize, read_back
from export.types import BLOCKS, OF_BITS, TYPES, block_named, type_named, type_of_bits
from tests.export.students import lively_student


@pytest.fixture(scope="module")
def importance(lively):
    return importance_of(lively, calibration(None, []).conversations[:6])


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """A student whose rows 256 does not divide, its F16 file and what its weights matter."""
    folder = tmp_path_factory.mktemp("odd")
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1}
    checkpoint = open_checkpoint(lively_student(folder / "student", **sizes))
    write_f16(checkpoint, folder / "f16.gguf")
    found = importance_of(checkpoint, calibration(None, []).conversations[:6])
    return folder / "f16.gguf", found


def made(path, found, plan):
    return Made(path, found, plan, SKIPPED, None)


# One of each family; all of the table by tests/benchmarks/every_type.py.
FAMILIES = ("F32", "BF16", "Q8_0", "Q5_1", "Q4_K_M", "IQ4_XS", "Q3_K_S", "IQ2_XS", "TQ2_0")


@pytest.mark.parametrize("name", FAMILIES)
def test_a_type_of_each_family_is_written_as_it_is_named(name, importance, lively_f16, tmp_path):
    file = tmp_path / "file.gguf"
    quantize(lively_f16, file, Plan(name, inputs=importance.matrix()))
    found = read_back(file, name)
    assert found.fallback == []
    assert set(found.weights_by_type) <= TYPES[name].members | {"F32"}
    assert found.bits_per_weight < found.file_bits_per_weight
    assert set(found.bytes_by_class) == {"embedding", "attention", "feed-forward", "head", "norm"}


@pytest.mark.parametrize("name", [n for n, kind in TYPES.items() if kind.needs_importance])
def test_a_type_that_needs_importance_is_refused_without(name, lively_f16, tmp_path):
    with pytest.raises(BadInput, match=f"type {name} is unusable without an importance matrix"):
        quantize(lively_f16, tmp_path / "file.gguf", name)


@pytest.mark.parametrize("name", ["Q2_K", "TQ1_0"])
def test_low_types_that_do_not_need_importance_do_without(name, lively_f16, tmp_path):
    quantize(lively_f16, tmp_path / "file.gguf", name)
    assert read_back(tmp_path / "file.gguf", name).parameters > 0


@pytest.mark.parametrize("bits", OF_BITS)
def test_bits_are_a_type_with_a_reason(bits):
    kind, reason = type_of_bits(bits)
    assert abs(TYPES[kind].nominal_bits_per_weight - bits) < 1 and len(reason) > 10


def test_other_rows_fall_back_and_the_lines_say_so_loudly(odd, tmp_path):
    file = tmp_path / "file.gguf"
    quantize(odd[0], file, "Q4_K_M")
    found = read_back(file, "Q4_K_M")
    assert "blk.0.attn_q.weight Q5_0" in found.fallback
    assert "token_embd.weight Q5_0" in found.fallback
    assert not any("ffn_down" in tensor for tensor in found.fallback)
    assert found.bits_per_weight > 5.5
    lines = file_lines(made(file, found, Plan("Q4_K_M")))
    assert "fell back: blk.0.attn_q.weight Q5_0" in lines
    assert lines[-1].startswith("WARNING: named Q4_K_M, yet")


def test_odd_rows_get_blocks_of_32_within_an_honest_number_of_bits(odd, tmp_path):
    plain, importance = odd
    asked = Plan("Q4_K_M", "4 bits", inputs=importance.matrix())
    plan = mixed(plain, tmp_path / "trial.gguf", asked, importance)
    quantize(plain, tmp_path / "file.gguf", plan)
    found = read_back(tmp_path / "file.gguf", "Q4_K_M", plan.tensors)
    assert found.bits_per_weight <= 5.5 and found.fallback == []
    assert "blocks of 32, because 256 do not divide their rows" in plan.reason
    assert plan.tensors["blk.0.attn_q.weight"] in ("IQ4_NL", "Q4_1", "Q5_0", "Q5_1", "Q8_0")
    lines = file_lines(made(tmp_path / "file.gguf", found, plan))
    assert not any("WARNING" in line for line in lines)


@pytest.mark.parametrize("bits", [4, 3])
def test_types_by_sensitivity_take_no_more_bytes_than_the_mix(
    bits, importance, lively_f16, tmp_path
):
    kind, _ = type_of_bits(bits)
    asked = Plan(kind, inputs=importance.matrix())
    quantize(lively_f16, tmp_path / "own.gguf", asked)
    plan = mixed(lively_f16, tmp_path / "trial.gguf", asked, importance)
    quantize(lively_f16, tmp_path / "file.gguf", plan)
    assert (tmp_path / "file.gguf").stat().st_size <= (tmp_path / "own.gguf").stat().st_size
    assert read_back(tmp_path / "file.gguf", kind, plan.tensors).fallback == []


def test_a_large_embedding_does_not_break_the_budget(tmp_path):
    sizes = {"tie_word_embeddings": True, "vocab_size": 4096}
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **sizes))
    plain, file = tmp_path / "f16.gguf", tmp_path / "file.gguf"
    write_f16(checkpoint, plain)
    quantize(plain, file, "Q4_0")
    alone = read_back(file, "Q4_0")
    lines = file_lines(made(file, alone, Plan("Q4_0")))
    assert lines[-1].endswith("of it is the embedding, kept as Q6_K; try --bits 4")
    importance = importance_of(checkpoint, calibration(None, []).conversations[:2])
    asked = Plan("Q4_K_M", inputs=importance.matrix())
    plan = mixed(plain, tmp_path / "trial.gguf", asked, importance)
    quantize(plain, file, plan)
    found = read_back(file, "Q4_K_M", plan.tensors)
    assert found.file_bits_per_weight <= 5.2 and not too_large(found)


def test_single_tensors_take_the_type_that_a_person_names(importance, lively_f16, tmp_path):
    names = list(matrices_of(lively_f16))
    chosen = chosen_tensors(["blk.1.ffn_down=Q8_0", "ffn_=F16"], names)
    assert chosen["blk.1.ffn_down.weight"] == "Q8_0" and chosen["blk.0.ffn_up.weight"] == "F16"
    asked = Plan("Q4_K_M", tensors=chosen, inputs=importance.matrix())
    plan = mixed(lively_f16, tmp_path / "trial.gguf", asked, importance)
    quantize(lively_f16, tmp_path / "file.gguf", plan)
    written = gguf.GGUFReader(tmp_path / "file.gguf").tensors
    kinds = {t.name: t.tensor_type.name for t in written}
    assert {name: kinds[name] for name in chosen} == chosen


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nothing=Q8_0", "matches no tensor"),
        ("ffn_down", "matches no tensor"),
        ("(=Q8_0", "is no pattern"),
        ("ffn_down=Q9", "a tensor cannot be 'Q9'; choose one of"),
    ],
)
def test_words_for_tensors_that_mean_nothing_are_refused(word, said):
    with pytest.raises(BadInput, match=said):
        chosen_tensors([word], ["blk.0.ffn_down.weight"])


def test_unknown_names_are_refused():
    with pytest.raises(BadInput, match="choose one of: F32, BF16"):
        type_named("Q2_X")
    with pytest.raises(BadInput, match="choose one of 16, 8, 7"):
        type_of_bits(9)
    assert block_named("IQ4_NL") in BLOCKS


def test_the_four_bit_floats_leave_a_dense_student_in_eight_bits(lively_f16, tmp_path):
    """Why MXFP4 is not in the table: llama.cpp writes it for mixtures of experts only."""
    number = llama_cpp.LLAMA_FTYPE_MOSTLY_MXFP4_MOE
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, target = number, tmp_path / "file.gguf"
    with captured():
        llama_cpp.llama_model_quantize(
            str(lively_f16).encode(), str(target).encode(), ctypes.byref(params)
        )
    matrices = [t for t in gguf.GGUFReader(target).tensors if len(t.shape) == 2]
    assert {t.tensor_type.name for t in matrices} == {"Q8_0"}


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(lively_f16, tmp_path):
    with pytest.raises(Unavailable, match="could not be quantized to Q8_0"):
        quantize(lively_f16, tmp_path / "nowhere" / "file.gguf", "Q8_0")
