"""The Triton kernel against the torch form: on a GPU, or interpreted (TRITON_INTERPRET=1)."""

import importlib.util
import os

import pytest
import torch

from distill.core.errors import Unsupported
from distill.learning import divergence_rows, fused_triton
from distill.learning.divergence_rows import Divergence, Scoring
from tests.distill.learning.heads import DIVERGENCES, fused, name_of, random_pair

HAS_TRITON = importlib.util.find_spec("triton") is not None
INTERPRETED = HAS_TRITON and os.environ.get("TRITON_INTERPRET") == "1"
RUNS = HAS_TRITON and (torch.cuda.is_available() or INTERPRETED)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.mark.skipif(not RUNS, reason="needs Triton and a GPU, or TRITON_INTERPRET=1")
@pytest.mark.parametrize("divergence", DIVERGENCES, ids=name_of)
@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("labelled", [True, False])
def test_values_and_gradients_are_those_of_torch(divergence, temperature, softcap, labelled):
    torch.manual_seed(1)
    rows, vocabulary = 3, 5000
    student_RV = 4 * torch.tanh(torch.randn(rows, vocabulary)) / temperature
    delta_RV = torch.randn(rows, vocabulary)
    labels_R = torch.tensor([0, 4999, 17]) if labelled else None
    scoring = Scoring(divergence, temperature, 0.7, 0.3, softcap, 0.5)
    outcomes = []
    for score_rows in (divergence_rows.score_rows, fused_triton.score_rows):
        mine = [x.clone().to(DEVICE) for x in (student_RV, delta_RV)]
        labels = None if labels_R is None else labels_R.to(DEVICE)
        scores = score_rows(scoring, *mine, labels, torch.tensor([1.0, 0.5, 2.0], device=DEVICE))
        outcomes.append([x.cpu() for x in (*scores, mine[1])])
    for expected, found in zip(*outcomes, strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.skipif(RUNS, reason="it runs here")
def test_without_a_gpu_the_kernel_is_refused():
    pair = random_pair(1, dtype=torch.float32)
    with pytest.raises(Unsupported, match="needs Triton and a GPU"):
        fused(pair, Divergence(), kernel="triton")


@pytest.mark.skipif(not RUNS, reason="needs Triton and a GPU, or TRITON_INTERPRET=1")
def test_fp64_states_are_refused():
    pair = random_pair(1)
    pair = type(pair)(*(x.detach().to(DEVICE) for x in pair.states))
    with pytest.raises(Unsupported, match="fp64"):
        fused(pair, Divergence(), kernel="triton")
