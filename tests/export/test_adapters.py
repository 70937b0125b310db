"""LoRA folders: merged tensor by tensor, equal to the adapter that runs unmerged in torch."""

import json
import pickle

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from distill.core.errors import BadInput, MissingInput, Unsupported
from export.adapters import open_adapter
from export.checkpoint import open_checkpoint
from export.f16 import write_f16
from tests.export.students import lively_student
from tests.export.test_parity import FEW, gate_of

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing.*:FutureWarning")
KINDS = {
    "plain": {"target_modules": ["q_proj", "down_proj"]},
    "rslora": {"target_modules": ["v_proj"], "use_rslora": True},
    "patterns": {
        "target_modules": ["q_proj", "k_proj"],
        "rank_pattern": {"k_proj": 2},
        "alpha_pattern": {"layers.1.self_attn.q_proj": 40},
    },
    "embedding and head": {"target_modules": ["embed_tokens"], "modules_to_save": ["lm_head"]},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return lively_student(tmp_path_factory.mktemp("lora") / "base")


def adapter(base, folder, **options):
    """An adapter whose B is no longer zero."""
    torch.manual_seed(1)
    config = LoraConfig(r=4, lora_alpha=8, task_type="CAUSAL_LM", **options)
    student = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if "lora_" in name or "modules_to_save" in name:
                weight.add_(torch.randn_like(weight) * 0.05)
    # With the embedding among the targets, peft stores the base's own embedding too.
    student.save_pretrained(
        folder, save_embedding_layers="embed_tokens" in options["target_modules"]
    )
    return folder


def settings(folder, **changes):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("name", KINDS)
def test_the_merged_file_computes_what_the_adapter_computes(base, tmp_path, name):
    checkpoint = open_checkpoint(adapter(base, tmp_path / "adapter", **KINDS[name]))
    write_f16(checkpoint, tmp_path / "file.gguf")
    parity = gate_of(checkpoint, tmp_path / "file.gguf", FEW[:3])
    assert parity["passed"] and parity["links"][0]["mean_kld"] < 1e-5, parity["failed"]
    # The adapter shows: the base alone would not pass.
    assert not gate_of(open_checkpoint(base), tmp_path / "file.gguf", FEW[:3])["passed"]


def test_merging_is_peft_s_own(base, tmp_path):
    from peft import PeftModel

    folder = adapter(base, tmp_path / "adapter", **KINDS["patterns"])
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    expected = PeftModel.from_pretrained(model, folder).merge_and_unload().state_dict()
    for name, tensor in open_checkpoint(folder).tensors():
        torch.testing.assert_close(tensor.float(), expected[name])


def test_a_base_is_found_beside_the_adapter(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    (tmp_path / "adapter" / "base").symlink_to(base)
    settings(folder, base_model_name_or_path="base")
    with pytest.raises(BadInput, match="leads out of its folder"):
        open_checkpoint(folder)
    (tmp_path / "adapter" / "base").unlink()
    settings(folder, base_model_name_or_path="org/base")
    with pytest.raises(MissingInput, match="'org/base' is no folder here; download the base"):
        open_checkpoint(folder)


@pytest.mark.parametrize(
    ("changes", "said", "kind"),
    [
        ({"use_dora": True}, "has use_dora = True; the export merges plain", Unsupported),
        ({"bias": "all"}, "has bias = all", Unsupported),
        ({"peft_type": "IA3"}, "has peft_type 'IA3'", Unsupported),
        ({"lora_alpha": None}, "has no lora_alpha", BadInput),
    ],
)
def test_other_formulas_are_refused(base, tmp_path, changes, said, kind):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    settings(folder, **changes)
    with pytest.raises(kind, match=said):
        open_adapter(folder)


def test_a_pickled_adapter_is_never_loaded(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MissingInput, match=r"has no adapter_model\.safetensors"):
        open_checkpoint(folder)
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))
    with pytest.raises(BadInput, match="pickled adapter, which can run code"):
        open_checkpoint(folder)


def weights_of(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


def test_an_adapter_of_another_base_is_refused(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    other = lively_student(tmp_path / "other", hidden_size=128)
    settings(folder, base_model_name_or_path=str(other))
    with pytest.raises(BadInput, match="give the base it was trained on"):
        open_checkpoint(folder)


def test_half_a_pair_is_refused(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    weights_of(folder, lambda weights: weights.pop(next(k for k in weights if "lora_B" in k)))
    with pytest.raises(BadInput, match=r"A and B of .* do not fit"):
        open_checkpoint(folder)


def test_a_tensor_that_the_base_lacks_is_refused(base, tmp_path):
    folder = adapter(base, tmp_path / "adapter", **KINDS["plain"])
    weights_of(
        folder, lambda weights: weights.update({"base_model.model.gate.weight": torch.ones(2)})
    )
    with pytest.raises(BadInput, match=r"changes gate\.weight \[2\].*no such tensor"):
        open_checkpoint(folder)
