"""Every architecture of the table: a random model of the class, as F16, against torch."""

import dataclasses

import pytest

from distill.core.errors import Unsupported
from export.architectures import TABLE
from export.checkpoint import open_checkpoint
from export.conversations import bundled
from export.f16 import write_f16
from export.parity import LIMITS
from tests.export.students import lively_student
from tests.export.test_parity import gate_of

FEW = bundled()[:3]
YARN = {
    "rope_type": "yarn",
    "rope_theta": 10000.0,
    "factor": 4.0,
    "original_max_position_embeddings": 256,
}
GEMMA = {"tie_word_embeddings": True, "head_dim": 64, "query_pre_attn_scalar": 100}
NEAR = {"rope_type": "default", "rope_theta": 10000.0}
FAR = {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}


def longrope(width, **changes):
    factors = [1 + i / 20 for i in range(width // 2)]
    return {
        "rope_type": "longrope",
        "rope_theta": 10000.0,
        "short_factor": factors,
        "long_factor": [2 * factor for factor in factors],
        "original_max_position_embeddings": 1024,
        **changes,
    }


STUDENTS = {
    "llama-yarn": {"kind": "llama", "rope_parameters": YARN},
    "mistral-window": {"kind": "mistral", "head_dim": 32, "sliding_window": 600},
    "qwen2": {"kind": "qwen2"},
    "qwen3-window": {
        "kind": "qwen3",
        "use_sliding_window": True,
        "sliding_window": 700,
        "max_window_layers": 1,
    },
    "gemma": {"kind": "gemma", "tie_word_embeddings": True, "head_dim": 64},
    "gemma2": {"kind": "gemma2", "sliding_window": 16, **GEMMA},
    "gemma3_text": {
        "kind": "gemma3_text",
        "sliding_window": 16,
        "num_hidden_layers": 6,
        "initializer_range": 0.04,
        **GEMMA,
    },
    "gemma3_text-layers": {
        "kind": "gemma3_text",
        "head_dim": 64,
        "sliding_window": 16,
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {"sliding_attention": NEAR, "full_attention": FAR},
    },
    "phi3": {"kind": "phi3"},
    "phi3-longrope": {
        "kind": "phi3",
        "tie_word_embeddings": True,
        "max_position_embeddings": 4096,
        "rope_parameters": longrope(48, partial_rotary_factor=0.75),
    },
    "smollm3": {"kind": "smollm3", "num_hidden_layers": 4, "tie_word_embeddings": True},
    "olmo2": {"kind": "olmo2"},
    "granite": {
        "kind": "granite",
        "embedding_multiplier": 3.0,
        "attention_multiplier": 0.02,
        "residual_multiplier": 0.7,
        "logits_scaling": 0.25,
    },
}


def test_every_architecture_of_the_table_is_tried():
    assert set(TABLE) == {"llama"} | {student["kind"] for student in STUDENTS.values()}


@pytest.fixture(scope="module", params=STUDENTS, ids=str)
def student(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return open_checkpoint(lively_student(folder / "student", **STUDENTS[request.param]))


def test_the_file_computes_what_torch_computes(student, tmp_path):
    write_f16(student, tmp_path / "file.gguf")
    parity = gate_of(student, tmp_path / "file.gguf", FEW)
    assert parity["passed"], parity["failed"]
    assert parity["links"][0]["mean_kld"] < LIMITS[16].mean_kld / 10


class Unarranged:
    """The architecture with its tensors as Hugging Face has them."""

    def __init__(self, right):
        self.NAME, self.metadata, self.computed = right.NAME, right.metadata, right.computed

    def arrange(self, name, tensor, config):
        return tensor


class Unscaled(Unarranged):
    """The architecture without the keys that only it has."""

    def __init__(self, right):
        super().__init__(right)
        own = ("scale", "attn_logit", "sliding_window", "rope.freq_base", "rope.scaling")
        self.metadata = lambda config: {
            key: value
            for key, value in right.metadata(config).items()
            if not any(word in key for word in own)
        }


@pytest.mark.parametrize(
    ("name", "mistake"),
    [
        ("mistral-window", Unarranged),
        ("gemma", Unarranged),
        ("gemma2", Unarranged),
        ("gemma3_text", Unarranged),
        ("gemma3_text-layers", Unscaled),
        ("smollm3", Unarranged),
        ("llama-yarn", Unscaled),
        ("granite", Unarranged),
    ],
)
def test_a_mapping_with_a_mistake_does_not_pass(name, mistake, tmp_path):
    right = open_checkpoint(lively_student(tmp_path / "student", **STUDENTS[name]))
    wrong = dataclasses.replace(right, architecture=mistake(right.architecture))
    write_f16(wrong, tmp_path / "file.gguf")
    assert not gate_of(right, tmp_path / "file.gguf", FEW)["passed"]


def test_the_context_of_a_file_without_windows_is_the_window(tmp_path):
    student = open_checkpoint(lively_student(tmp_path / "s", **STUDENTS["mistral-window"]))
    assert student.architecture.metadata(student.config)["llama.context_length"] == 600


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"kind": "smollm3", "no_rope_layers": [0, 1]}, "no_rope_layers"),
        ({"kind": "olmo2", "tie_word_embeddings": True}, "tie_word_embeddings"),
        ({"kind": "gemma3_text", "attn_logit_softcapping": 50.0}, "attn_logit_softcapping"),
        ({"kind": "gemma3_text", "use_bidirectional_attention": True}, "no chat model"),
        (
            {
                "kind": "gemma3_text",
                "layer_types": ["full_attention", "sliding_attention"],
                "rope_parameters": {"sliding_attention": FAR, "full_attention": NEAR},
            },
            "of sliding layers",
        ),
        ({"kind": "qwen3", "rope_parameters": longrope(64)}, "for qwen3 the GGUF export knows"),
        ({"kind": "phi3", "head_dim": 32}, "head_dim in config.json"),
    ],
)
def test_what_llama_cpp_does_not_run_is_refused(changes, said):
    from transformers import AutoConfig

    from export.architectures import architecture_of
    from tests.export.students import SIZES

    kind = changes["kind"]
    rest = {key: value for key, value in changes.items() if key != "kind"}
    config = AutoConfig.for_model(kind, **SIZES | rest)
    with pytest.raises(Unsupported, match=said):
        architecture_of(kind, "student").metadata(config)
