"""`method: pride` from sets to a plain student, and that a stopped run ends where it would have."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, TrainerCallback

from distill.core.errors import BadInput, Unsupported
from distill.core.jsonl import write_json
from distill.learning import pride_stages
from distill.learning.multi_source import attached
from distill.learning.pride import read_pride_sets
from distill.learning.pride_stages import Prepared, fusion_of, trainer_of
from distill.learning.pride_student import PrideStudent
from distill.learning.pride_trainer import PrideTrainer
from distill.learning.quiet import quiet
from distill.learning.stage import Setting
from distill.learning.student import load_student
from distill.recipe import parse_recipe
from distill.train import job_of, named_recipe, planned, train
from tests.distill.pride_sets import pride_recipe, read_lines, write_known, write_pride_recipe
from tests.models import tiny_checkpoint

TERMS = {"cross_entropy", "divergence", "mmd", "teacher_cross_entropy", "gate", "told"}
GAUGED = ("reference", "student")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A base, sets, fields and a recipe whose teacher is the base, tuned to know more."""
    folder = tmp_path_factory.mktemp("pride")
    tiny_checkpoint(folder / "base")
    write_known(folder)
    write_pride_recipe(folder / "recipe.yaml")
    return folder


def trained(place: Path, out: str, recipe: str = "recipe.yaml", **options):
    words = {"student": str(place / "base"), "privileged": place / "data", **options}
    return train(str(place / recipe), place / "sets", place / out, **words)


@pytest.fixture(scope="module")
def straight(place):
    return trained(place, "straight")


def weights(folder: Path):
    return load_file(folder / "model.safetensors")


def test_the_student_is_a_plain_folder_and_its_papers_tell_every_term(straight, place):
    out = place / "straight"
    base, student = (AutoModelForCausalLM.from_pretrained(f) for f in (place / "base", out))
    assert [n for n, _ in student.named_parameters()] == [n for n, _ in base.named_parameters()]
    figures = straight["stages"]["pride"]
    assert figures["steps"] == 3 and figures.keys() >= TERMS
    gauges = {f"leakage_{who}_{when}" for who in GAUGED for when in ("start", "end")}
    assert figures.keys() >= gauges
    assert figures["leakage_reference_start"] == pytest.approx(figures["leakage_reference_end"])
    assert straight["teacher"]["name"] == "self" and len(straight["privileged_sha256"]) == 2
    card = (out / "README.md").read_text()
    assert "after arXiv 2606.23124" in card and "| divergence from the teacher |" in card
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list((place / "straight.work").glob("pride/checkpoint-*"))


def test_the_teacher_is_the_base_that_learnt_to_read_the_fields(straight, place):
    rows = [
        json.loads(line)["messages"]
        for line in read_lines(place / "straight.work/teacher-sets/sft.jsonl")
    ]
    knowing = [row for row in rows if row[0]["role"] == "system"]
    assert 0 < len(knowing) < len(rows) == 12
    assert "need: to be heard" in knowing[0][0]["content"]
    before, after = weights(place / "base"), weights(place / "straight.work/teacher")
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_each_step_logs_its_terms(straight, place):
    history = json.loads((place / "straight.work/pride.json").read_text())["history"]
    steps = [entry for entry in history if "loss" in entry]
    assert len(steps) == 3 and all(entry.keys() >= TERMS for entry in steps)
    assert steps[0]["told"] > 0 == steps[-1]["told"]
    first = steps[0]
    terms = first["cross_entropy"] + first["divergence"] + 0.1 * first["mmd"]
    assert first["loss"] == pytest.approx(terms, rel=1e-4)


class Stopped(Exception):
    """Stands for a kill."""


class StopAt(TrainerCallback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_save(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            raise Stopped


def test_a_stopped_run_ends_bit_for_bit_where_it_would_have(straight, place, monkeypatch):
    def stopping(*words):
        trainer = trainer_of(*words)
        trainer.add_callback(StopAt(2))
        return trainer

    monkeypatch.setattr(pride_stages, "trainer_of", stopping)
    with pytest.raises(Stopped):
        trained(place, "stopped")
    monkeypatch.undo()
    with pytest.raises(BadInput, match="holds an unfinished run; continue it with --resume"):
        trained(place, "stopped")
    ended = trained(place, "stopped", resume=True)
    assert ended["stages"] == straight["stages"]
    found, wanted = weights(place / "stopped"), weights(place / "straight")
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert trained(place, "stopped", resume=True)["stages"] == ended["stages"]


def test_a_run_of_other_fields_or_another_teacher_is_another_run(straight, place):
    with pytest.raises(BadInput, match="was made from another recipe"):
        trained(
            place, "straight", str(write_pride_recipe(place / "other.yaml", seed=5)), resume=True
        )
    note = place / "straight/kindred.json"
    kept = json.loads(note.read_text())
    write_json(note, {**kept, "privileged_sha256": {}})
    with pytest.raises(BadInput, match="was made from another set of privileged fields"):
        trained(place, "straight", resume=True)
    write_json(note, kept)


def trainer_for(place: Path, out: Path, teacher=None, **changes) -> PrideTrainer:
    """A trainer as the stage builds it, on the rows of the sets."""
    recipe = parse_recipe(json.dumps(pride_recipe(teacher=None, **changes)), "tests")
    job = job_of(
        str(place / "recipe.yaml"), place / "sets", out, None, False, privileged=place / "data"
    )
    from distill.learning.pride_rows import RowMaker
    from distill.learning.student import read_tokenizer

    tokenizer = read_tokenizer(place / "base", recipe)
    sets = read_pride_sets(job, recipe)
    rows = list(RowMaker(recipe, tokenizer, None, changes.get("features")).rows(sets.dialogues))
    student = load_student(place / "base", recipe, "fp32", "cpu", None)
    pride = PrideStudent(student, recipe.loss, fusion_of(student, recipe, rows))
    return trainer_of(pride, None, Prepared(rows, [], [4]), Setting(recipe, "cpu", "fp32", out))


LOSS = {"divergence_weight": 0.0, "mmd_weight": 0.0}


def test_what_is_saved_says_bit_for_bit_what_the_untold_student_says(place, tmp_path):
    with quiet():
        trainer = trainer_for(place, tmp_path, loss=LOSS)
        pride = trainer.pride
        with attached(pride.fusion, pride.student):
            trainer.train()
            trainer.save_model(str(tmp_path / "final"))
            assert pride.fusion.looks["1"].out.weight.abs().sum() > 0
            pride.eval()
            ids_BT = torch.randint(5, 300, (3, 12))
            taking = trainer.taking(trainer.train_dataset[:3], share=0.0)
            pride.fusion.tell(None)
            pride.fusion.tell(pride.sources(taking))
            with torch.no_grad():
                untold = pride.student(ids_BT).logits
        saved = AutoModelForCausalLM.from_pretrained(
            tmp_path / "final", attn_implementation="eager"
        )
    assert {f.name for f in (tmp_path / "final").iterdir()} >= {"model.safetensors", "config.json"}
    with torch.no_grad():
        assert torch.equal(saved(ids_BT).logits, untold)


def test_what_is_told_is_annealed_and_depends_on_seed_step_and_row_alone(place, tmp_path):
    with quiet():
        trainer = trainer_for(place, tmp_path, loss=LOSS)
    trainer.state.max_steps = 10
    shares = []
    for step in (0, 3, 6, 9):
        trainer.state.global_step = step
        shares.append(trainer.told_share())
    assert shares == pytest.approx([0.9, 0.45, 0.0, 0.0])
    rows = trainer.train_dataset
    trainer.state.global_step = 3
    drawn = [trainer.told(row, 0.5) for row in rows]
    assert [trainer.told(row, 0.5) for row in reversed(rows)] == drawn[::-1]
    assert 0 < sum(drawn) < len(rows)


def test_features_of_another_modality_train_too(place, tmp_path):
    features = tmp_path / "features"
    features.mkdir()
    for number in range(6):
        save_file({"a": torch.randn(2 + number, 5)}, features / f"d{number}.safetensors")
    recipe = write_pride_recipe(tmp_path / "recipe.yaml", teacher=None, loss=LOSS)
    done = trained(place, "featured", str(recipe), features=features)
    assert done["features_sha256"] and done["stages"]["pride"]["gate"] > 0


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": {"kind": "lora", "rank": 2}, "gradient_checkpointing": True},
        {
            "on_policy": {"share": 1.0, "max_new_tokens": 8},
            "leakage": {"strength": 1.0, "sample": 0},
        },
        {"sources": None, "known_share": 0.5, "leakage": {"every_step": True, "sample": 2}},
    ],
    ids=["lora", "on-policy", "half-known"],
)
def test_other_ways_to_train_end_in_the_same_plain_folder(place, straight, tmp_path, changes):
    """The teacher is another model here: the tuned one of the first run."""
    teacher = {"model": str(place / "straight.work/teacher"), "prompt": "reasoning"}
    recipe = write_pride_recipe(
        tmp_path / "recipe.yaml", **{"max_length": 96, "teacher": teacher, **changes}
    )
    done = trained(place, f"other-{len(json.dumps(changes))}", str(recipe))
    figures = done["stages"]["pride"]
    assert figures["steps"] == 3 and figures["divergence"] > 0
    if changes.get("leakage"):
        assert "leakage" in figures
    if changes.get("on_policy"):
        assert 0 < figures["weight"] <= 1
    found, base = weights(place / f"other-{len(json.dumps(changes))}"), weights(place / "base")
    assert found.keys() == base.keys()
    assert any(not torch.equal(found[name], base[name]) for name in base)


def test_what_does_not_belong_together_is_refused_before_any_weight_loads(place, tmp_path):
    with pytest.raises(BadInput, match="say where they are: --privileged FOLDER"):
        trained(place, "x", privileged=None)
    (tmp_path / "other").mkdir()
    _, data = write_known(tmp_path / "other")
    lines = (data / "dialogues.jsonl").read_text().replace("my dog", "my cat").replace("I ", "We ")
    (data / "dialogues.jsonl").write_text(lines)
    with pytest.raises(BadInput, match=r"none of the 12 dialogues of .* has privileged fields in"):
        trained(place, "x", privileged=data)
    with pytest.raises(BadInput, match="--privileged goes with method pride, and starter is two-"):
        train("starter", place / "sets", place / "x", privileged=place / "data")
    assert not (place / "x").exists() and not (place / "x.work").exists()


def test_a_teacher_without_a_template_or_with_too_little_context_is_refused(place, tmp_path):
    other = tiny_checkpoint(tmp_path / "other")
    (other / "chat_template.jinja").unlink()
    teacher = {"model": str(other), "prompt": "notes"}
    recipe = write_pride_recipe(tmp_path / "recipe.yaml", teacher=teacher)
    with pytest.raises(BadInput, match="has no chat template, so it cannot be asked"):
        trained(place, "y", str(recipe))
    short = tiny_checkpoint(tmp_path / "short")
    config = json.loads((short / "config.json").read_text())
    write_json(short / "config.json", {**config, "max_position_embeddings": 40})
    teacher = {"model": str(short), "prompt": "notes"}
    recipe = write_pride_recipe(tmp_path / "recipe.yaml", teacher=teacher)
    with pytest.raises(BadInput, match=r"dialogue d\d+ is \d+ tokens with the teacher's prompt"):
        trained(place, "z", str(recipe))


def test_what_needs_whole_weights_is_refused_under_fsdp(place, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(Unsupported, match=r"shards of it \(leakage.sample asks it\); launch it"):
        trained(place, "sharded")
    recipe = str(write_pride_recipe(tmp_path / "recipe.yaml", leakage={"sample": 0}))
    (place / "sharded.work/pride/checkpoint-1").mkdir(parents=True)
    with pytest.raises(Unsupported, match=r"\(the checkpoint in .*sharded.work holds it\)"):
        trained(place, "sharded", recipe, resume=True)
    own = {"share": 0.5}
    recipe = str(write_pride_recipe(tmp_path / "recipe.yaml", leakage={"sample": 0}, on_policy=own))
    with pytest.raises(Unsupported, match="on_policy samples from it"):
        trained(place, "elsewhere", recipe)


def test_a_dry_run_counts_teacher_and_known_dialogues(place):
    inputs = {"privileged": place / "data"}
    words = (str(place / "recipe.yaml"), place / "sets", place / "plan", str(place / "base"), False)
    plan = planned(job_of(*words, **inputs)).data
    assert plan["teacher"] == "self" and plan["known"] == 12
    assert plan["stages"]["teacher"]["steps"] == plan["stages"]["pride"]["steps"] == 3


def test_the_method_may_stand_before_the_recipe(place):
    recipe = str(place / "recipe.yaml")
    assert named_recipe("pride", recipe) == recipe == named_recipe(recipe, None)
    assert parse_recipe(pathless(named_recipe("pride", None)), "pride").method == "pride"
    with pytest.raises(BadInput, match="starter is of method two-step; say: distill train starter"):
        named_recipe("pride", "starter")
    with pytest.raises(BadInput, match="dpo is no method; known are two-step, pride, pretrain"):
        named_recipe("dpo", "starter")


def pathless(name: str) -> str:
    from distill.recipe import recipe_text

    return recipe_text(name)
