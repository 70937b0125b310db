"""The gate: an exported file computes what its checkpoint computes, from the same text."""

import dataclasses
from collections import Counter
from typing import ClassVar

import pytest

from distill.core.errors import BadInput
from export.checkpoint import Checkpoint, open_checkpoint
from export.conversations import bundled
from export.f16 import write_f16
from export.parity import Texts, gate, texts_for
from export.quantize import quantize
from export.session import Session
from tests.export.students import lively_student

FEW = bundled()[:6]
STRETCHED = {"rope_theta": 10000.0, "factor": 4.0}
LLAMA3 = STRETCHED | {
    "rope_type": "llama3",
    "high_freq_factor": 4.0,
    "low_freq_factor": 1.0,
    "original_max_position_embeddings": 64,
}


def gate_of(checkpoint, path, conversations=FEW):
    return gate(checkpoint, {"F16": (path, 16)}, Texts(conversations, conversations, "test"))


def near_torch(parity):
    link = parity["links"][0]
    return parity["passed"] and link["mean_kld"] < 1e-5 and link["positions"] > 50


def test_the_f16_file_computes_what_torch_computes(lively, lively_f16):
    parity = gate_of(lively, lively_f16, bundled())
    assert near_torch(parity)
    assert parity["identical"] == [
        "chat template",
        "rendered prompts",
        "token ids",
        "end tokens",
    ]
    assert 0.9 < parity["links"][0]["greedy_prefix"] <= 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "qwen3", "head_dim": 128},
        {"kind": "qwen3", "tie_word_embeddings": True},
        {"tie_word_embeddings": True, "dtype": "bfloat16"},
        {"attention_bias": True, "mlp_bias": True},
        {"num_key_value_heads": 4, "head_dim": 32},
        {"rope_parameters": LLAMA3},
        {"rope_parameters": STRETCHED | {"rope_type": "linear"}},
    ],
    ids=str,
)
def test_every_shape_of_student_computes_what_torch_computes(changes, tmp_path):
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **changes))
    write_f16(checkpoint, tmp_path / "file.gguf")
    assert near_torch(gate_of(checkpoint, tmp_path / "file.gguf"))


class Unpermuted:
    """Llama without the permutation of q and k: the mistake that only numbers show."""

    def __init__(self, right):
        self.NAME, self.metadata, self.computed = right.NAME, right.metadata, right.computed

    def arrange(self, name, tensor, config):
        return tensor


def test_rows_in_the_wrong_order_are_caught(lively, tmp_path):
    wrong = dataclasses.replace(lively, architecture=Unpermuted(lively.architecture))
    write_f16(wrong, tmp_path / "file.gguf")
    parity = gate_of(lively, tmp_path / "file.gguf")
    assert not parity["passed"]
    assert any("F16 against torch: mean KLD" in line for line in parity["failed"])
    assert any("F16 against torch: top-1" in line for line in parity["failed"])


def test_a_wrong_template_is_caught(lively, tmp_path):
    other = dataclasses.replace(lively, template=lively.template + " ")
    write_f16(other, tmp_path / "file.gguf")
    parity = gate_of(lively, tmp_path / "file.gguf")
    assert not parity["passed"] and parity["links"] == []
    assert parity["failed"][0].startswith("the chat template differs")


class OtherTokenizer:
    """A tokenizer that numbers one character unlike the one in the file."""

    def __init__(self, right):
        self.right = right

    def __getattr__(self, name):
        return getattr(self.right, name)

    def __call__(self, text, **options):
        return self.right(text.replace("j", "k"), **options)


def test_wrong_token_ids_are_caught(lively, lively_f16):
    other = dataclasses.replace(lively, tokenizer=OtherTokenizer(lively.tokenizer))
    assert gate_of(other, lively_f16)["failed"] == [
        "token ids of prompts differ on conversation 1",
        "token ids of messages differ on conversation 1",
    ]


def test_an_end_token_that_the_file_does_not_know_is_caught(lively_f16, tmp_path):
    folder = lively_student(tmp_path / "student")
    (folder / "generation_config.json").write_text('{"eos_token_id": [4, 7]}')
    failed = gate_of(open_checkpoint(folder), lively_f16)["failed"]
    assert failed == ["generation does not stop at token 7, as the checkpoint's does"]


def test_a_template_that_ends_replies_with_another_token_is_caught(tmp_path):
    folder = lively_student(tmp_path / "student")
    template = folder / "chat_template.jinja"
    wrong = template.read_text().replace("+ '<|end|>' -}}{%- endgen", "+ '<|pad|>' -}}{%- endgen")
    template.write_text(wrong)
    checkpoint = open_checkpoint(folder)
    write_f16(checkpoint, tmp_path / "file.gguf")
    (failed,) = gate_of(checkpoint, tmp_path / "file.gguf")["failed"]
    assert "ends with <|pad|> by the template" in failed and "generation_config.json" in failed


class CountingSession(Session):
    """Counts the tokens that each file really reads."""

    counts: ClassVar[Counter[str]] = Counter()

    def read(self, tokens):
        self.counts[self.path.name] += len(tokens)
        return super().read(tokens)


class WatchedCheckpoint(Checkpoint):
    """Counts the tokens that torch really reads."""

    def reference(self):
        student = super().reference()
        student.base_model.register_forward_hook(self.count)
        return student

    @staticmethod
    def count(layer, inputs, output):
        CountingSession.counts["torch"] += output[0].shape[1]


def test_the_gate_costs_at_most_two_and_a_half_passes(lively, lively_f16, tmp_path):
    quantize(lively_f16, tmp_path / "q8.gguf", "Q8_0")
    watched = WatchedCheckpoint(**vars(lively))
    files = {"F16": (lively_f16, 16), "Q8_0": (tmp_path / "q8.gguf", 8)}
    CountingSession.counts.clear()
    said = gate(watched, files, Texts(FEW, bundled(), "test"), reader=CountingSession)
    counts = CountingSession.counts
    text = counts["q8.gguf"] + said["conversations"]
    assert 2 * text < sum(counts.values()) <= 2.5 * text
    assert said["forward_passes"] == pytest.approx(sum(counts.values()) / text, abs=0.1)


def test_conversations_that_the_template_refuses_are_no_comparison(lively, lively_f16, tmp_path):
    with pytest.raises(BadInput, match="takes none of the gate's conversations"):
        gate(lively, {"F16": (lively_f16, 16)}, Texts(FEW, [], "test"))


def test_held_out_text_is_measured_and_ours_is_read_besides(tmp_path):
    path = tmp_path / "held_out.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "I lost my keys"}]}\n')
    texts = texts_for(path)
    assert texts.source == "held_out.jsonl"
    assert len(texts.measured) == 1 and len(texts.exact) == 1 + len(bundled())
