"""The parts of `distill train`: masks, order, shortening, the CPU head, plans."""

import copy
import json
import warnings

import pytest
import torch

from distill.core.errors import BadInput
from distill.learning.masks import IGNORED, examples_of, last_reply, pairs_that_fit, shortened
from distill.learning.reply_head import use_reply_head
from distill.learning.stage import WholeSteps, shared_batch
from distill.learning.tokenizer import train_tokenizer
from distill.learning.training_sets import Pair
from distill.recipe import Sft, bundled, parse_recipe, recipe_text
from distill.train import train
from tests.models import SENTENCES, tiny_checkpoint
from tests.training import assistant, distill_train, user, write_recipe, write_sets

TALK = [user("I lost it"), assistant("What?"), user("My job."), assistant("Oh no, your job.")]
PLAIN_TEMPLATE = (
    "{%- for m in messages -%}{{- '<|' + m['role'] + '|>' + m['content'] + '<|end|>' -}}"
    "{%- endfor -%}{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(SENTENCES, 512)


@pytest.fixture(scope="module")
def untagged():
    tokenizer = train_tokenizer(SENTENCES, 512)
    tokenizer.chat_template = PLAIN_TEMPLATE
    return tokenizer


def learnt(tokenizer, example):
    return tokenizer.decode([token for token in example["labels"] if token != IGNORED])


def test_the_loss_sees_the_last_reply_and_its_end(tokenizer, untagged):
    for each in (tokenizer, untagged):
        assert learnt(each, last_reply(each, TALK)) == "Oh no, your job.<|end|>"


def test_every_reply_is_learnt_with_tags_and_without(tokenizer, untagged):
    options = {"loss_on": "every-reply", "max_length": 96}
    tagged = list(examples_of(tokenizer, [TALK], **options))
    assert [learnt(tokenizer, e) for e in tagged] == ["What?<|end|>Oh no, your job.<|end|>"]
    cut = list(examples_of(untagged, [TALK], **options))
    assert [learnt(untagged, e) for e in cut] == ["What?<|end|>", "Oh no, your job.<|end|>"]


def test_what_is_too_long_loses_its_oldest_turns_and_keeps_its_system_message():
    system = {"role": "system", "content": "Be kind."}
    assert list(shortened([system, *TALK])) == [[system, *TALK], [system, *TALK[2:]]]


def test_a_dialogue_that_fits_in_no_way_is_left_out(tokenizer):
    whole = len(last_reply(tokenizer, TALK)["input_ids"])
    options = {"loss_on": "last-reply"}
    fitting = list(examples_of(tokenizer, [TALK], max_length=whole - 1, **options))
    assert learnt(tokenizer, fitting[0]) == "Oh no, your job.<|end|>"
    assert len(fitting[0]["input_ids"]) < whole
    assert list(examples_of(tokenizer, [TALK], max_length=5, **options)) == []


def test_a_pair_fits_when_its_longer_side_does(tokenizer):
    pair = Pair(TALK[:-1], [assistant("Oh no.")], [assistant("Your dog ran away last night.")])
    longer = len(last_reply(tokenizer, [*pair.prompt, *pair.rejected])["input_ids"])
    assert list(pairs_that_fit(tokenizer, [pair], longer)) == [pair]
    (short,) = pairs_that_fit(tokenizer, [pair], longer - 1)
    assert short.prompt == TALK[2:3]


@pytest.mark.parametrize("by_length", [True, False])
def test_an_epoch_holds_every_example_in_whole_steps(by_length):
    lengths = [5 + index % 7 for index in range(10)]
    orders = [
        list(WholeSteps(lengths, 4, 0, by_length, lambda steps, e=epoch: e)) for epoch in (0, 0, 1)
    ]
    assert len(orders[0]) == 12 and set(orders[0]) == set(range(10))
    assert orders[0] == orders[1] != orders[2]


def test_steps_by_length_hold_examples_of_like_length():
    lengths = list(range(100))
    order = list(WholeSteps(lengths, 4, 0, True, lambda steps: 0))
    assert all(max(order[at : at + 4]) - min(order[at : at + 4]) == 3 for at in range(0, 100, 4))


def test_processes_share_a_step_and_never_change_it():
    step = Sft(learning_rate=1.0, batch_size=4, accumulation=2)
    assert [shared_batch(step, n) for n in (1, 2, 4)] == [(4, 2), (4, 1), (1, 2)]
    with pytest.raises(BadInput, match="3 processes cannot share a step of 4 x 2"):
        shared_batch(step, 3)


def test_the_reply_head_is_trls_own_head_for_less_work(tmp_path):
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    fused = AutoModelForCausalLM.from_pretrained(tiny_checkpoint(tmp_path))
    lean = copy.deepcopy(fused)
    add_fused_lm_head(fused, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    assert use_reply_head(lean)
    ids_BT = torch.randint(5, 300, (3, 12), generator=torch.Generator().manual_seed(0))
    labels_BT = ids_BT.masked_fill(torch.arange(12) < 7, IGNORED)
    found, wanted = (
        each(input_ids=ids_BT, labels=labels_BT, fused_lm_head=True) for each in (lean, fused)
    )
    for name in ("loss", "log_probs", "entropy", "mean_logits"):
        assert torch.allclose(found[name], wanted[name], atol=1e-4), name
    assert torch.equal(found.is_top1, wanted.is_top1.bool())
    for each, out in ((lean, found), (fused, wanted)):
        out.log_probs.sum().backward()
        assert each.get_input_embeddings().weight.grad is not None
    pairs = zip(lean.parameters(), fused.parameters(), strict=True)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-4) for a, b in pairs)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_dialogues_do_not_see_each_other(tmp_path, attention):
    from transformers import AutoModelForCausalLM

    folder = tiny_checkpoint(tmp_path)
    student = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=attention)
    ids_T = torch.randint(5, 300, (11,), generator=torch.Generator().manual_seed(0))
    places_T = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6])
    packed_TV = student(ids_T[None], position_ids=places_T[None], use_cache=False).logits[0]
    alone_TV = torch.cat([student(part[None]).logits[0] for part in (ids_T[:4], ids_T[4:])])
    assert torch.allclose(packed_TV, alone_TV, atol=1e-4)


def test_every_bundled_recipe_is_valid():
    for name in bundled():
        parse_recipe(recipe_text(name), name)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "mistral-7b-v0.3"])
def test_templates_of_recipes_mark_the_reply_and_its_end(name):
    given = parse_recipe(recipe_text(name), name).chat_template
    tokenizer = train_tokenizer(SENTENCES, 512)
    tokens = ["<|start_header_id|>", "<|end_header_id|>", "[INST]", "[/INST]", "<s>", given.end]
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.chat_template = given.text
    talk = [{"role": "system", "content": "Be kind."}, *TALK]
    tagged = list(examples_of(tokenizer, [talk], loss_on="every-reply", max_length=400))
    assert learnt(tokenizer, last_reply(tokenizer, talk)).strip() == f"Oh no, your job.{given.end}"
    assert learnt(tokenizer, tagged[0]).count(given.end) == 2


def test_a_dry_run_counts_without_weights(tmp_path):
    base = tiny_checkpoint(tmp_path / "base")
    (base / "model.safetensors").unlink()
    write_sets(tmp_path / "sets")
    recipe = write_recipe(tmp_path / "recipe.yaml", adapter={"kind": "lora", "rank": 4})
    words = [recipe, "--data", tmp_path / "sets", "--out", tmp_path / "out", "--dry-run"]
    done = distill_train(*words, "--student", base, "--json")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["parameters"] > 100 * plan["trainable"] / 10 > 0
    assert plan["memory_bytes"] > 4 * plan["parameters"]
    assert plan["stages"]["sft"]["steps"] == 6
    far = distill_train(*words, "--student", "nobody/nothing")
    assert far.returncode == 0 and "unknown" in far.stdout
    assert far.stderr.startswith("remark: nobody/nothing is no folder here")
    assert not (tmp_path / "out").exists() and not (tmp_path / "out.work").exists()


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"kind": "lora", "rank": 4, "dropout": 0.0}, "gradient_checkpointing": True},
        {"sft": {"learning_rate": 1e-3, "batch_size": 2, "packing": True}, "dpo": None},
        {"precision": "bf16", "dpo": None},
    ],
    ids=["lora", "packing", "bf16"],
)
def test_other_ways_to_train_end_in_the_same_plain_folder(tmp_path, changes):
    from transformers import AutoModelForCausalLM

    base = tiny_checkpoint(tmp_path / "base")
    write_sets(tmp_path / "sets", held_out=4)
    recipe = write_recipe(tmp_path / "recipe.yaml", **changes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        done = train(str(recipe), tmp_path / "sets", tmp_path / "out", student=str(base))
    before, after = (AutoModelForCausalLM.from_pretrained(f) for f in (base, tmp_path / "out"))
    assert {n for n, _ in after.named_parameters()} == {n for n, _ in before.named_parameters()}
    moved = [
        name
        for (name, a), (_, b) in zip(
            before.named_parameters(), after.named_parameters(), strict=True
        )
        if not torch.equal(a, b)
    ]
    assert any("mlp" in name for name in moved)
    assert done["stages"]["sft"]["loss"] < 7


def test_the_same_recipe_draws_the_same_adapter(tmp_path):
    base = tiny_checkpoint(tmp_path / "base")
    write_sets(tmp_path / "sets", count=8, held_out=0)
    recipe = write_recipe(tmp_path / "recipe.yaml", adapter={"kind": "lora"}, dpo=None)
    runs = [
        train(str(recipe), tmp_path / "sets", tmp_path / name, student=str(base))["stages"]
        for name in ("one", "two")
    ]
    assert runs[0] == runs[1]
