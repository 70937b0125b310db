"""The importance matrix: what the hooks sum up, on which text, and what it foretells."""

import dataclasses
import itertools

import gguf
import numpy as np
import pytest
import torch

from distill.core.errors import BadInput
from export.calibration import calibration, sayings, starter
from export.conversations import bundled
from export.f16 import target_names
from export.importance import importance_of, load_importance, save_importance
from export.mixture import Price, allocated
from export.quantize import Plan, quantize
from export.text_parity import ids, rendered
from tests.export.students import lively_student


@pytest.fixture(scope="module")
def text():
    return calibration(None, []).conversations[:3]


@pytest.fixture(scope="module")
def found(lively, text):
    return importance_of(lively, text)


def test_inputs_are_the_mean_squares_that_the_slow_way_finds(lively, text, found):
    student, seen = lively.reference(), []
    down = student.get_submodule("model.layers.1.mlp.down_proj")
    down.register_forward_pre_hook(lambda layer, inputs: seen.append(inputs[0][0]))
    with torch.no_grad():
        for messages in text:
            student(torch.tensor([ids(lively, rendered(lively, messages, False))]))
    slow = torch.cat(seen).double().square().mean(0)
    assert found.inputs["blk.1.ffn_down.weight"] == pytest.approx(slow.numpy(), rel=1e-4)
    assert found.positions == sum(map(len, seen))


def test_every_matrix_has_its_importance(lively, lively_f16, found):
    matrices = {t.name: t for t in gguf.GGUFReader(lively_f16).tensors if len(t.shape) == 2}
    assert found.inputs.keys() == matrices.keys() - {"token_embd.weight"}
    for name, values in found.inputs.items():
        columns, rows = map(int, matrices[name].shape)
        assert values.shape == (columns,) and found.outputs[name].shape == (rows,)
        assert (found.matrix()[name] > 0).all()


def test_the_same_text_gives_the_same_figures(lively, text, found, tmp_path):
    again = importance_of(lively, text)
    save_importance(again, tmp_path / "kept.npz")
    kept = load_importance(tmp_path / "kept.npz")
    for name, values in found.inputs.items():
        assert np.array_equal(values, kept.inputs[name])
        assert np.array_equal(found.outputs[name], kept.outputs[name])
    assert kept.positions == found.positions


def test_a_tied_head_weighs_the_embedding(tmp_path, text):
    from export.checkpoint import open_checkpoint

    folder = lively_student(tmp_path / "student", tie_word_embeddings=True)
    own = importance_of(open_checkpoint(folder), text)
    assert own.inputs["token_embd.weight"].shape == (256,)
    assert "output.weight" not in own.inputs


def test_the_divergence_of_a_small_change_is_foretold(lively, text):
    """Noise on one matrix: the measured divergence is near the one from mean squares."""
    importance = importance_of(lively, text * 2)
    student = lively.reference()
    names = {new: old for old, new in target_names(lively).items()}
    passages = [torch.tensor([ids(lively, rendered(lively, m, False))]) for m in text]
    with torch.no_grad():
        before = [student(p).logits[0].log_softmax(-1) for p in passages]
        for tensor in ("blk.1.ffn_down.weight", "blk.1.ffn_up.weight"):
            weight = student.get_parameter(names[tensor])
            torch.manual_seed(1)
            noise = torch.randn_like(weight) * weight.std() * 0.03
            weight.add_(noise)
            after = [student(p).logits[0].log_softmax(-1) for p in passages]
            weight.sub_(noise)
            found = torch.cat(
                [(b.exp() * (b - a)).sum(-1) for b, a in zip(before, after, strict=True)]
            ).mean()
            assert importance.divergence(tensor, noise.numpy()) == pytest.approx(
                float(found), rel=0.4
            )


def test_the_gates_text_is_never_calibrated_on():
    own = starter()
    judged = [own[0][:1], own[7][:1]]
    found = calibration(None, judged)
    assert found.left_out == 2 and len(found.conversations) == 160
    said = {text for messages in found.conversations for text in sayings(messages)}
    assert said.isdisjoint(sayings(own[0][:1]) | sayings(own[7][:1]))
    ours = {text for messages in bundled() for text in sayings(messages)}
    assert ours.isdisjoint(text for messages in own for text in sayings(messages))


def test_text_that_is_the_gates_alone_is_refused(tmp_path):
    path = tmp_path / "same.jsonl"
    path.write_text('{"messages": [{"role": "user", "content": "I lost my keys in the park"}]}')
    same = [[{"role": "user", "content": "I lost my keys in the park"}]]
    with pytest.raises(BadInput, match="nothing but the gate's own text"):
        calibration(path, same)


def test_text_that_the_template_does_not_take_is_refused(lively, tmp_path):
    class Silent:
        def apply_chat_template(self, *words, **options):
            return ""

    with pytest.raises(BadInput, match="takes none of the conversations"):
        importance_of(dataclasses.replace(lively, tokenizer=Silent()), bundled()[:1])


def test_importance_lowers_the_error_that_it_weighs(lively_f16, found, tmp_path):
    """The weighted error of a weighed file is below that of a plain one."""
    name = "blk.0.ffn_down.weight"
    before = next(t for t in gguf.GGUFReader(lively_f16).tensors if t.name == name)
    errors = []
    for inputs in (None, found.matrix()):
        quantize(lively_f16, tmp_path / "file.gguf", Plan("Q3_K_S", inputs=inputs))
        after = next(t for t in gguf.GGUFReader(tmp_path / "file.gguf").tensors if t.name == name)
        change = gguf.dequantize(after.data, after.tensor_type) - before.data
        errors.append(float(((change**2) @ found.inputs[name]).sum()))
    assert errors[1] < errors[0]


def test_the_allocation_is_that_of_trying_everything():
    rng = np.random.default_rng(0)
    kinds = ("small", "middle", "large")
    prices = {
        f"t{i}": {kind: Price(scale * 4.0**-n, int(size) * (n + 2)) for n, kind in enumerate(kinds)}
        for i, (scale, size) in enumerate(rng.integers(5, 20, (5, 2)))
    }

    def total(choice, what):
        return sum(getattr(prices[t][k], what) for t, k in choice.items())

    for limit in (110, 150, 200, 400):
        every = [dict(zip(prices, c, strict=True)) for c in itertools.product(kinds, repeat=5)]
        fitting = [c for c in every if total(c, "size_bytes") <= limit]
        found = allocated(prices, limit)
        least = min((total(c, "divergence") for c in fitting), default=None)
        if least is None:
            assert set(found.values()) == {"small"}
            continue
        assert total(found, "size_bytes") <= limit
        assert total(found, "divergence") <= 1.25 * least
