"""Pretraining: it learns, it continues exactly, and bits per byte are what they say."""

import json
import math
import random

import pytest
import torch

from distill.learning.muon import Muon, orthogonal
from distill.learning.pretrain import (
    IGNORED,
    Schedule,
    Source,
    Stage,
    batches,
    bits_per_byte,
    draw,
    new_llama,
    pretrain,
)


def counting_documents():
    rng = random.Random(0)
    return [[(start + i) % 40 + 2 for i in range(30)] for start in rng.choices(range(40), k=60)]


def tiny():
    return new_llama(64, 256, 1, 256, eos=1, pad=0, seed=0)


def train(folder, *, stop_at=None):
    """Train on counting; `stop_at` dies at that step, as a killed process would."""
    folder.mkdir(exist_ok=True)
    student, steps = tiny(), []

    def evaluate(_):
        steps.append(1)
        if stop_at and len(steps) == stop_at:
            raise KeyboardInterrupt
        return {}

    pretrain(
        student,
        [Stage([Source("count", counting_documents(), 1.0)], 12_000)],
        folder,
        batch_tokens=480,
        matrix_rate=0.02,
        vector_rate=0.004,
        schedule=Schedule(12_000, 1_000, 0.4),
        bf16=False,
        compiled=False,
        seed=0,
        evaluate=evaluate,
        evaluate_every=1,
        save_every=5,
    )
    return student


def test_a_student_learns_to_count(tmp_path):
    student = train(tmp_path)
    tokens = torch.tensor([[(i % 40) + 2 for i in range(20)]])
    predicted = student(input_ids=tokens).logits.argmax(-1)[0, 5:-1]
    assert predicted.tolist() == tokens[0, 6:].tolist()
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [r["loss"] for r in records if "loss" in r]
    assert losses[-1] < 0.2


def test_a_killed_run_continues_to_the_same_weights(tmp_path):
    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "killed", stop_at=13)
    resumed = train(tmp_path / "killed")
    for mine, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_sources_are_drawn_by_weight_and_every_document_once_an_epoch():
    sources = [Source("a", [[1]] * 10, 3.0), Source("b", [[i] for i in range(100, 150)], 1.0)]
    stream = draw(sources, random.Random(0))
    drawn = [next(stream)[0] for _ in range(200)]
    from_b = [d for d in drawn if d >= 100]
    assert 0.15 < len(from_b) / 200 < 0.35
    assert len(set(from_b[:50])) == min(50, len(from_b))


def test_padding_is_never_a_target_and_batches_are_of_the_asked_size():
    stream = batches([Source("a", counting_documents(), 1.0)], 480, seed=0)
    for _ in range(10):
        batch = next(stream)
        assert batch.shape == (10, 48)
        assert (batch[:, 30:] == IGNORED).all()


def test_bits_per_byte_of_a_model_that_knows_nothing_is_the_log_of_the_vocabulary():
    student = tiny()
    with torch.no_grad():
        for weight in student.parameters():
            weight.zero_()
    found = bits_per_byte(student, [([5, 6, 7, 8], [2, 3], 4), ([5, 6], [1], 2)])
    assert math.isclose(found, 3 * math.log2(64) / 6, rel_tol=1e-5)


@pytest.mark.parametrize("shape", [(64, 64), (96, 32), (32, 96)])
def test_muon_steps_as_torch_does_when_torch_is_given_the_same_precision(shape):
    torch.manual_seed(0)
    start, steps = torch.randn(shape), [torch.randn(shape) for _ in range(3)]
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = [
        Muon([ours], lr=0.02, weight_decay=0.05, dtype=torch.bfloat16),
        torch.optim.Muon([theirs], lr=0.02, weight_decay=0.05, momentum=0.95),
    ]
    for grad in steps:
        ours.grad, theirs.grad = grad.clone(), grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-3)


def test_an_orthogonal_update_has_singular_values_near_one():
    torch.manual_seed(0)
    singular = torch.linalg.svdvals(orthogonal(torch.randn(64, 48), torch.float32))
    assert singular.min() > 0.6 and singular.max() < 1.3


def test_the_rate_warms_up_holds_and_decays_to_zero():
    schedule = Schedule(1000, 100, 0.4)
    assert schedule.factor(0) < 0.02
    assert schedule.factor(300) == 1.0
    assert math.isclose(schedule.factor(800), 0.5)
    assert schedule.factor(1000) == 0.0
