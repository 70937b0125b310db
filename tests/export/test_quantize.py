"""Quantization: what the name promises, what the file holds, and a loud word where they differ."""

import pytest

from distill.core.errors import BadInput, Unavailable
from export.card import file_lines, too_large
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from export.parity import SKIPPED
from export.quantize import TYPES, quantize, quantize_within, read_back, type_named
from tests.export.students import lively_student


@pytest.mark.parametrize("name", [name for name in TYPES if name != "F16"])
def test_rows_of_256_give_the_type_that_was_asked_for(name, lively_f16, tmp_path):
    quantize(lively_f16, tmp_path / "file.gguf", name)
    found = read_back(tmp_path / "file.gguf", name)
    assert found.fallback == []
    assert set(found.weights_by_type) <= TYPES[name].members | {"F32"}
    assert found.nominal_bits_per_weight - 0.1 < found.bits_per_weight < found.file_bits_per_weight
    assert not too_large(found)
    assert set(found.bytes_by_class) == {"embedding", "attention", "feed-forward", "head", "norm"}


def test_other_rows_fall_back_and_the_lines_say_so_loudly(tmp_path):
    sizes = {"hidden_size": 192, "num_attention_heads": 3, "num_key_value_heads": 1}
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **sizes))
    write_f16(checkpoint, tmp_path / "f16.gguf")
    file = tmp_path / "file.gguf"
    quantize(tmp_path / "f16.gguf", file, "Q4_K_M")
    found = read_back(file, "Q4_K_M")
    assert "blk.0.attn_q.weight Q5_0" in found.fallback
    assert "token_embd.weight Q5_0" in found.fallback
    assert not any("ffn_down" in tensor for tensor in found.fallback)
    assert found.bits_per_weight > 5.5
    lines = file_lines(file, found, SKIPPED)
    assert "fell back: blk.0.attn_q.weight Q5_0" in lines
    assert lines[-1].startswith("WARNING: named Q4_K_M, yet")


@pytest.mark.parametrize(("feed_forward", "embedding"), [(512, "Q6_K"), (256, "Q5_K")])
def test_four_bits_keep_within_their_budget_by_the_least_economy(feed_forward, embedding, tmp_path):
    sizes = {"tie_word_embeddings": True, "vocab_size": 2048, "num_hidden_layers": 4}
    sizes["intermediate_size"] = feed_forward
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **sizes))
    plain, file = tmp_path / "f16.gguf", tmp_path / "file.gguf"
    write_f16(checkpoint, plain)
    quantize(plain, file, "Q4_K_M")
    alone = read_back(file, "Q4_K_M")
    assert alone.file_bits_per_weight > 5.2 and alone.token_embedding == "Q6_K"
    quantize_within(plain, file, "Q4_K_M")
    within = read_back(file, "Q4_K_M")
    assert within.file_bits_per_weight <= 5.2
    assert within.token_embedding == embedding and within.fallback == []
    assert within.weights_by_type["Q6_K"] < alone.weights_by_type["Q6_K"]


def test_a_large_embedding_is_named_as_the_cause(tmp_path):
    sizes = {"tie_word_embeddings": True, "vocab_size": 8192}
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **sizes))
    write_f16(checkpoint, tmp_path / "f16.gguf")
    quantize(tmp_path / "f16.gguf", tmp_path / "file.gguf", "Q4_0")
    found = read_back(tmp_path / "file.gguf", "Q4_0")
    assert file_lines(tmp_path / "file.gguf", found, SKIPPED)[-1].endswith(
        "of it is the embedding, kept as Q6_K; try --bits 4"
    )
    quantize_within(tmp_path / "f16.gguf", tmp_path / "file.gguf", "Q4_K_M")
    assert not too_large(read_back(tmp_path / "file.gguf", "Q4_K_M"))


def test_an_unknown_type_is_refused():
    with pytest.raises(BadInput, match="choose one of: F16, Q8_0"):
        type_named("Q2_X")


def test_a_file_that_cannot_be_written_is_refused_with_the_reason(lively_f16, tmp_path):
    with pytest.raises(Unavailable, match="could not be quantized to Q8_0"):
        quantize(lively_f16, tmp_path / "nowhere" / "file.gguf", "Q8_0")
