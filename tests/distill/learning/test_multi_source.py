"""Multi-source attention on random decoders of five families."""

import pytest
import torch
import transformers

from distill.core.errors import BadInput, Unsupported
from distill.learning.multi_source import (
    MultiSource,
    Sources,
    attached,
    decoder_layers,
    encoded,
    layer_indices,
)
from distill.learning.quiet import quiet

SIZES = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES = {
    "llama": "LlamaConfig",
    "qwen3": "Qwen3Config",
    "gemma3": "Gemma3TextConfig",
    "mistral": "MistralConfig",
    "phi3": "Phi3Config",
}


def model_of(family: str):
    config = getattr(transformers, FAMILIES[family])(**SIZES)
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def fusion_of(width: int | None = None) -> MultiSource:
    """Fusion on two layers whose projections say something, as after training."""
    torch.manual_seed(1)
    fusion = MultiSource(32, [0, 2], heads=4, feature_width=width)
    for look in fusion.looks.values():
        torch.nn.init.normal_(look.out.weight)
    return fusion


def sources_of(student, told: list[bool]) -> Sources:
    ids_BS = torch.tensor([[7, 8, 9, 0], [4, 5, 6, 7]])
    seen_BS = torch.tensor([[True, True, True, False], [True] * 4])
    return Sources(torch.tensor(told), encoded(student, ids_BS, seen_BS), seen_BS)


IDS_BT = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]])


@pytest.mark.parametrize("family", FAMILIES)
def test_who_is_not_told_hears_the_plain_student_bit_for_bit(family):
    student = model_of(family)
    plain = student(IDS_BT).logits
    fusion = fusion_of()
    with torch.no_grad(), attached(fusion, student):
        fusion.tell(sources_of(student, [True, False]))
        found = student(IDS_BT).logits
        assert torch.equal(found[1], plain[1])
        assert not torch.allclose(found[0], plain[0])
        fusion.tell(None)
        assert torch.equal(student(IDS_BT).logits, plain)
    assert torch.equal(student(IDS_BT).logits, plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_at_the_first_step_the_told_student_says_what_the_plain_one_says(family):
    student, fusion = model_of(family), MultiSource(32, [1], heads=2)
    with torch.no_grad(), attached(fusion, student):
        plain = student(IDS_BT).logits
        fusion.tell(sources_of(student, [True, True]))
        assert torch.equal(student(IDS_BT).logits, plain)


def test_the_form_is_the_written_one():
    """H' = H + g A with A = W_o attention(W_q H, W_k [E; e0], W_v [E; e0]), one head, by hand."""
    torch.manual_seed(2)
    fusion = MultiSource(8, [0], heads=1)
    look = fusion.looks["0"]
    torch.nn.init.normal_(look.out.weight)
    torch.nn.init.normal_(fusion.null_D)
    hidden_BTD, states_BSD = torch.randn(1, 3, 8), torch.randn(1, 2, 8)
    seen_BS = torch.tensor([[True, False]])
    fusion.tell(Sources(torch.tensor([True]), states_BSD, seen_BS))
    found = fusion.look("0", hidden_BTD)

    def normal(x):
        return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt()

    keys = torch.stack([normal(states_BSD[0, 0]), fusion.null_D])
    query = normal(hidden_BTD[0]) @ look.query.weight.T
    weights = torch.softmax(query @ (keys @ look.key.weight.T).T / 8**0.5, -1)
    looked = weights @ (keys @ look.value.weight.T) @ look.out.weight.T
    gate = torch.sigmoid(look.gate(torch.cat([normal(hidden_BTD[0]), looked], -1)))
    assert torch.allclose(found[0], hidden_BTD[0] + gate * looked, atol=1e-5)
    assert torch.allclose(fusion.gate_mean(), gate.mean(), atol=1e-6)


def test_what_is_masked_or_of_another_sample_changes_nothing():
    student, fusion = model_of("llama"), fusion_of()
    with torch.no_grad(), attached(fusion, student):
        sources = sources_of(student, [True, True])
        fusion.tell(sources)
        found = student(IDS_BT).logits
        states_BSD = sources.states_BSD.clone()
        states_BSD[0, 3] = 100.0
        states_BSD[1] += 1.0
        fusion.tell(sources._replace(states_BSD=states_BSD))
        changed = student(IDS_BT).logits
    assert torch.equal(changed[0], found[0])
    assert not torch.equal(changed[1], found[1])


@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_gradients_are_the_same_with_checkpointing_and_reach_every_part(family):
    gradients = []
    for checkpointing in (False, True):
        student, fusion = model_of(family).train(), fusion_of(width=6)
        if checkpointing:
            student.activation_checkpointing_enable({"use_reentrant": False})
        with attached(fusion, student):
            sources = sources_of(student, [True, False])
            features_BLF = torch.ones(2, 3, 6)
            seen_BL = torch.ones(2, 3, dtype=torch.bool)
            fusion.tell(sources._replace(features_BLF=features_BLF, seen_BL=seen_BL))
            student(IDS_BT, use_cache=False).logits.square().mean().backward()
        gradients.append([p.grad for p in (*fusion.parameters(), *student.parameters())])
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in fusion.parameters())
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*gradients, strict=True))


def test_sources_are_encoded_without_a_gradient_and_rows_without_text_are_finite():
    student = model_of("qwen3").train()
    seen_BS = torch.tensor([[True, True], [False, False]])
    states_BSD = encoded(student, torch.tensor([[7, 8], [0, 0]]), seen_BS)
    assert not states_BSD.requires_grad and states_BSD.isfinite().all()
    empty = encoded(student, torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 0).bool())
    fusion = fusion_of()
    with torch.no_grad(), attached(fusion, student):
        fusion.tell(Sources(torch.tensor([True, True]), empty, torch.zeros(2, 0).bool()))
        assert student(IDS_BT).logits.isfinite().all()


def test_it_works_under_an_adapter_and_while_generating():
    from peft import LoraConfig, get_peft_model

    wanted = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    with quiet():
        student = get_peft_model(model_of("llama"), wanted).eval()
    fusion = fusion_of()
    words = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    plain = student.generate(input_ids=IDS_BT, **words)
    with torch.no_grad(), attached(fusion, student):
        assert torch.equal(student.generate(input_ids=IDS_BT, **words), plain)
        fusion.tell(sources_of(student, [False, True]))
        told = student.generate(input_ids=IDS_BT, **words)
        whole = student(told[:, :-1]).logits
    assert torch.equal(told[0], plain[0]) and not torch.equal(told[1], plain[1])
    # Token by token from the cache, each step looks as the whole sequence does at once.
    assert torch.equal(whole[:, 4:].argmax(-1)[1], told[1, 5:])


def test_layers_and_widths_that_do_not_exist_are_refused():
    assert layer_indices("last", 3) == [2] and layer_indices([-1, 0], 3) == [0, 2]
    with pytest.raises(BadInput, match="names layer 3, and the student has layers 0 to 2"):
        layer_indices([3], 3)
    with pytest.raises(BadInput, match=r"sources\.heads is 5, which does not divide"):
        MultiSource(32, [0], heads=5)
    fusion, seen = fusion_of(width=6), torch.ones(1, 2, dtype=torch.bool)
    wrong = Sources(torch.tensor([True]), torch.zeros(1, 2, 32), seen, torch.zeros(1, 2, 5), seen)
    with pytest.raises(BadInput, match="features are 5 wide and the sources were made for 6"):
        fusion.tell(wrong)


def test_a_student_without_a_list_of_layers_is_refused():
    student = model_of("llama")
    student.config.num_hidden_layers = 7
    with pytest.raises(Unsupported, match="has no list of 7 decoder layers"):
        decoder_layers(student)
