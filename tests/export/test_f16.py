"""The F16 file: every tensor of the checkpoint, once, in the type that it should have."""

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from distill.core.errors import BadInput, Unsupported
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from tests.export.students import lively_student


def tensors_of(path):
    return {t.name: t for t in gguf.GGUFReader(path).tensors}


def with_weights(folder, change):
    """The checkpoint after `change` has edited its dictionary of tensors."""
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, {"format": "pt"})
    return open_checkpoint(folder)


def test_vectors_are_f32_and_matrices_f16(lively_f16):
    tensors = tensors_of(lively_f16)
    kinds = {(len(t.shape), t.tensor_type.name) for t in tensors.values()}
    assert kinds == {(1, "F32"), (2, "F16")}
    assert "output.weight" in tensors


def test_a_tied_head_is_not_written(tmp_path):
    folder = lively_student(tmp_path / "student", tie_word_embeddings=True)

    def add_head(weights):
        weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()

    write_f16(with_weights(folder, add_head), tmp_path / "file.gguf")
    assert "output.weight" not in tensors_of(tmp_path / "file.gguf")


def test_bfloat16_weights_keep_their_values(tmp_path):
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", dtype="bfloat16"))
    write_f16(checkpoint, tmp_path / "file.gguf")
    source = dict(checkpoint.tensors())["model.embed_tokens.weight"]
    assert source.dtype == torch.bfloat16
    written = tensors_of(tmp_path / "file.gguf")["token_embd.weight"].data
    assert np.array_equal(written, source.to(torch.float16).numpy())


def test_shards_give_the_same_file_as_one(lively, lively_f16, tmp_path):
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "student"
    whole = AutoModelForCausalLM.from_pretrained(lively.folder)
    whole.save_pretrained(folder, max_shard_size="1MB")
    lively.tokenizer.save_pretrained(folder)
    sharded = open_checkpoint(folder)
    assert len(set(sharded.shards.values())) > 1
    write_f16(sharded, tmp_path / "file.gguf")
    one, many = tensors_of(lively_f16), tensors_of(tmp_path / "file.gguf")
    assert one.keys() == many.keys()
    assert all(np.array_equal(one[name].data, many[name].data) for name in one)


def test_a_tensor_of_another_architecture_is_refused(tmp_path):
    def add_expert(weights):
        weights["model.layers.0.mlp.router.weight"] = torch.ones(4, 256)

    checkpoint = with_weights(lively_student(tmp_path / "student"), add_expert)
    with pytest.raises(Unsupported, match=r"mlp\.router\.weight.*'llama' of its config"):
        write_f16(checkpoint, tmp_path / "file.gguf")


def test_a_missing_tensor_is_refused(tmp_path):
    checkpoint = with_weights(
        lively_student(tmp_path / "student"), lambda w: w.pop("model.norm.weight")
    )
    with pytest.raises(BadInput, match=r"lacks 1 of its tensors .*model\.norm\.weight"):
        write_f16(checkpoint, tmp_path / "file.gguf")


def test_values_beyond_f16_are_refused(tmp_path):
    checkpoint = with_weights(
        lively_student(tmp_path / "student"),
        lambda w: w["model.layers.1.mlp.up_proj.weight"].fill_(1e5),
    )
    with pytest.raises(Unsupported, match=r"layers\.1\.mlp\.up_proj\.weight.*65504"):
        write_f16(checkpoint, tmp_path / "file.gguf")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_act": "gelu"}, "activation 'gelu'"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope type 'dynamic'"),
    ],
)
def test_what_the_format_cannot_say_is_refused(changes, said, tmp_path):
    checkpoint = open_checkpoint(lively_student(tmp_path / "student", **changes))
    with pytest.raises(Unsupported, match=said):
        write_f16(checkpoint, tmp_path / "file.gguf")


def test_the_header_names_the_student_and_carries_its_template(lively, lively_f16):
    fields = gguf.GGUFReader(lively_f16).fields
    assert fields["general.name"].contents() == lively.folder.name
    assert fields["llama.attention.key_length"].contents() == 64
    assert lively.template == fields["tokenizer.chat_template"].contents()
