"""The float32 graph of every architecture against torch: whole, in pieces, token by token."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distill.core.jsonl import read_json
from export.agreement import difference
from export.calibration import calibration
from export.checkpoint import Checkpoint, open_checkpoint
from export.importance import importance_of
from export.onnx_build import KNOWN, complete_config, refuse_unknown
from export.onnx_counts import read_back
from export.onnx_graph import build_graph
from export.onnx_mixture import mixture_of, parts_of
from export.onnx_weights import narrow
from runtime.backends.onnx_graph import CONFIG, Graph
from tests.export.students import VOCABULARY, lively_student

LENGTH, WINDOW = 150, 32
TIED = {"tie_word_embeddings": True}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "partial_rotary_factor": 0.75,
    "short_factor": [1 + place / 100 for place in range(24)],
    "long_factor": [1 + place / 2 for place in range(24)],
    "original_max_position_embeddings": 512,
}
GEMMA3_ROPE = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
}
GEMMA: dict[str, Any] = {"head_dim": 64, "query_pre_attn_scalar": 32, "sliding_window": WINDOW}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 5e5,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
WINDOWED = {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}
# Several have a matrix with as many rows as the vocabulary, 512, which the builder took for heads.
STUDENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"head_dim": 128, "rope_parameters": LLAMA3, **TIED}),
    "narrow heads": ("llama", {"head_dim": 32, "intermediate_size": 512}),
    "mistral": ("mistral", {"sliding_window": WINDOW}),
    "qwen2": ("qwen2", WINDOWED),
    "qwen3": ("qwen3", {"head_dim": 128, **WINDOWED}),
    "gemma": ("gemma", {"head_dim": 128, **TIED}),
    "gemma2": ("gemma2", {**GEMMA, **TIED}),
    "gemma3": ("gemma3_text", {**GEMMA, "num_hidden_layers": 6, **TIED}),
    "gemma3 stretched": (
        "gemma3_text",
        {**GEMMA, "num_hidden_layers": 6, "rope_parameters": GEMMA3_ROPE, **TIED},
    ),
    "phi3": ("phi3", {"sliding_window": WINDOW}),
    "phi4-mini": ("phi3", {"original_max_position_embeddings": 512, "rope_parameters": LONG}),
    "smollm3": ("smollm3", {"num_hidden_layers": 4, **TIED}),
    "olmo2": ("olmo2", {"head_dim": 32}),
    "granite": (
        "granite",
        {"embedding_multiplier": 3.0, "attention_multiplier": 0.02, "residual_multiplier": 0.7},
    ),
}
# The builder's process ignores what its libraries warn of, and here it is this process.
pytestmark = pytest.mark.filterwarnings("ignore")


def built(place: Path, name: str) -> tuple[Checkpoint, Path]:
    """A checkpoint and the folder of its graph."""
    kind, changes = STUDENTS[name]
    checkpoint = open_checkpoint(lively_student(place / "student", kind, **changes))
    refuse_unknown(checkpoint)
    build_graph(*(str(place / part) for part in ("student", "graph", "scratch")))
    complete_config(checkpoint, place / "graph" / CONFIG)
    return checkpoint, place / "graph"


@pytest.mark.parametrize("name", STUDENTS)
def test_the_graph_computes_what_torch_computes(tmp_path, name):
    checkpoint, folder = built(tmp_path, name)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, VOCABULARY, (1, LENGTH), generator=generator)
    with torch.no_grad():
        expected_NV = checkpoint.reference()(ids).logits[0].numpy()
    tokens = ids[0].tolist()
    graph = Graph(folder, context=LENGTH, threads=1, sequences=2)
    whole_NV = graph.read(tokens, past=0)
    pieces = [graph.read(tokens[n : n + 50], past=n, sequence=1) for n in range(0, LENGTH, 50)]
    steps = [
        {s: logits.copy() for s, logits in graph.step(dict.fromkeys((0, 1), token), [n, n]).items()}
        for n, token in enumerate(tokens)
    ]
    found = [whole_NV, np.concatenate(pieces), *(np.array([x[s] for x in steps]) for s in (0, 1))]
    for way_NV in found:
        divergence_N, same_N = difference(expected_NV, way_NV)
        assert divergence_N.max() < 1e-6 and same_N.all()


def test_every_architecture_of_the_table_is_compared():
    assert {kind for kind, _ in STUDENTS.values()} == set(KNOWN)


def test_the_context_ends_where_other_rotary_factors_begin(tmp_path):
    config = read_json(built(tmp_path, "phi4-mini")[1] / CONFIG)
    assert config["model"]["context_length"] == config["search"]["max_length"] == 512


def test_a_matrix_of_two_parts_gives_both_their_inputs_and_their_bits(tmp_path):
    checkpoint, folder = built(tmp_path, "phi3")
    mixture = mixture_of(
        checkpoint, importance_of(checkpoint, calibration(None, []).conversations[:2])
    )
    halves = parts_of("layer 0 gate_up")
    assert halves == ["layer 0 gate", "layer 0 up"] and set(halves) <= mixture.inputs.keys()
    assert (halves[0] in mixture.wide) == (halves[1] in mixture.wide)
    narrow(folder, 4, tied=False, mixture=mixture)
    assert read_back(folder, 4, 1).layers_by_bits["8"] == len(mixture.wide)


@pytest.mark.parametrize(("last", "code"), [("signal.pause()", 1), ("", 0)])
def test_the_builder_ends_with_the_process_that_began_it_or_by_itself(last, code):
    words = "import signal; from export.onnx_graph import end_with_parent; end_with_parent(); "
    words += f"print('watching', flush=True); {last}"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", words], **pipes) as builder:
        assert builder.stdout.readline().strip() == b"watching"
        if last:
            builder.stdin.close()
        assert builder.wait(60) == code
