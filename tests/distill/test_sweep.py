"""distill sweep: the table of the paper as one walk that goes on where it was stopped."""

import json

import pytest
import yaml

from distill.core.errors import BadInput, CheckFailed, KindredError
from distill.core.jsonl import write_jsonl
from distill.recipe import Sweep, Template, TwoStep, parse_recipe, recipe_text
from distill.sweep import plan_of, rate, run, table_of, with_template
from distill.train import job_of
from distill.walk import Step, walk
from tests.distill.curating import dialogue, response
from tests.models import tiny_checkpoint
from tests.training import REPLIES, TELLS
from tests.training import recipe as training


def sweep_file(folder, **changes):
    (folder / "training.yaml").write_text(yaml.safe_dump(training()))
    known = {
        "method": "sweep",
        "recipe": str(folder / "training.yaml"),
        "sets": {"human-naive": {"rule": "improved-human", "strategy": "naive"}},
        **changes,
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(known))
    return str(folder / "sweep.yaml")


def improved_data(folder):
    """Rated human replies, good and bad, each with an improvement."""
    folder.mkdir()
    splits = ("train", "train", "train", "valid", "test")
    dialogues = [
        dialogue(f"d{n}", f"{TELLS[n % 4]}, number {n * 7919}.", splits[n % 5]) for n in range(40)
    ]
    write_jsonl(folder / "dialogues.jsonl", dialogues)
    humans = [
        response(f"d{n}/human", REPLIES[n % 3], author="human", rating=n % 3 + 1, strategy=None)
        for n in range(40)
    ]
    better = [
        response(f"d{n}/better", f"I hear you. {REPLIES[n % 3]}", improves=f"d{n}/human",
                 strategy="naive")
        for n in range(40)
    ]  # fmt: skip
    write_jsonl(folder / "responses.jsonl", [*humans, *better])
    return folder


def swept(capsys, *words, **options):
    run(*words, json=True, **options)
    return json.loads(capsys.readouterr().out)


def test_the_papers_table_is_thirty_students_and_nothing_runs_in_a_dry_run(tmp_path, capsys):
    out = tmp_path / "out"
    found = swept(capsys, "paper-sweep", tmp_path / "data", out, dry_run=True)
    assert found["students"] == 30
    commands = found["commands"]
    assert len(commands) == 15 + 1 + 3 * 30 and not out.exists()
    compose = [line for line in commands if line.startswith("distill compose")]
    assert commands[:15] == compose
    assert (
        sum("--rule improved-llm --seed 1 --strategy sequential" in line for line in compose) == 1
    )
    judged = [line for line in commands if line.startswith("distill eval winrate")]
    assert all("--judge openai --model gpt-4o" in line for line in judged) and len(judged) == 30


def test_sft_alone_is_the_same_recipe_without_dpo(tmp_path):
    plan = plan_of(sweep_file(tmp_path), tmp_path, tmp_path / "out")
    both = parse_recipe(plan.recipes["sft+dpo"], "both")
    alone = parse_recipe(plan.recipes["sft"], "alone")
    assert both == parse_recipe(recipe_text(str(tmp_path / "training.yaml")), "x")
    assert isinstance(alone, TwoStep) and alone == both.model_copy(update={"dpo": None})
    assert plan.recipe_file("sft") != plan.recipe_file("sft+dpo")


def test_a_sweep_composes_trains_answers_judges_and_is_not_walked_twice(tmp_path, capsys):
    base = tiny_checkpoint(tmp_path / "tiny")
    data, recipe, out = improved_data(tmp_path / "data"), sweep_file(tmp_path), tmp_path / "out"
    words, student = (recipe, data, out), {"student": str(base)}
    found = swept(capsys, *words, **student)
    assert sorted(found["cells"]) == ["human-naive-sft", "human-naive-sft+dpo"]
    assert all(cell["pairs"] == 8 for cell in found["cells"].values())
    for cell in found["cells"]:
        assert (out / "students" / cell / "model.safetensors").stat().st_size > 0
    run(*words, **student)
    again = capsys.readouterr()
    assert again.err.count("# done before:") == len(found["seconds"]) == 8
    assert "Wins against the base, by " in again.out and "human-naive" in again.out


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"recipe": "base"}, "trains by base, which is not of method two-step"),
        ({"sets": {}}, "sets: Dictionary should have at least 1 item"),
        ({"sets": {"a/b": {"rule": "first"}}}, "String should match pattern"),
        ({"steps": ["dpo"]}, "steps.0: Input should be 'sft' or 'sft"),
    ],
)
def test_a_sweep_that_cannot_work_is_refused_before_anything_runs(tmp_path, changes, expected):
    with pytest.raises(BadInput, match=expected):
        plan_of(sweep_file(tmp_path, **changes), tmp_path, tmp_path / "out")


def test_a_recipe_that_is_no_sweep_or_has_no_dpo_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is no sweep; train it with: distill train starter"):
        plan_of("starter", tmp_path, tmp_path / "out")
    file = sweep_file(tmp_path)
    alone = {key: value for key, value in training().items() if key != "dpo"}
    (tmp_path / "training.yaml").write_text(yaml.safe_dump(alone))
    with pytest.raises(BadInput, match=r"asks for sft\+dpo, and .* has no dpo"):
        plan_of(file, tmp_path, tmp_path / "out")


def test_train_says_how_a_sweep_is_run(tmp_path):
    with pytest.raises(BadInput, match="paper-sweep is a sweep; run it with: distill sweep paper"):
        job_of("paper-sweep", tmp_path, tmp_path / "out", None, False)


def test_a_base_without_a_chat_template_is_judged_with_the_recipes_own(tmp_path):
    from transformers import AutoTokenizer

    base = tiny_checkpoint(tmp_path / "tiny")
    template = Template(text="{% for m in messages %}<{{ m.content }}>{% endfor %}", end=">")
    for _ in range(2):
        folder = with_template(base, template, tmp_path / "out" / "base")
    tokenizer = AutoTokenizer.from_pretrained(str(folder))
    said = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert said == "<Hi>"
    assert (folder / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert AutoTokenizer.from_pretrained(str(base)).chat_template != template.text


def test_the_table_has_a_row_a_set_and_no_rate_where_nothing_was_decided(tmp_path):
    sweep = parse_recipe(recipe_text(sweep_file(tmp_path)), "sweep")
    assert isinstance(sweep, Sweep)
    won = {"win_rate": 0.9, "interval": [0.85, 0.95]}
    table = table_of(sweep, {"winrate human-naive-sft": won}, "a judge")
    assert (table.row_count, [c.header for c in table.columns]) == (1, ["", "SFT", "SFT + DPO"])
    assert rate(won) == "90.0% (85.0% to 95.0%)"
    assert rate({"win_rate": None, "interval": None}) == "nothing decided"


def test_a_step_runs_again_when_what_it_reads_is_newer():
    one = Step("b", ("x",), (), after=("a",))
    known = {"words": ["x"]}
    assert one.done(known, {"other"}) and not one.done(known, {"a"})
    anything = Step("c", ("x",), ())
    assert anything.done(known, set()) and not anything.done(known, {"other"})
    assert not one.done({"words": ["y"]}, set())


def test_a_step_that_refuses_stops_the_walk_with_its_line(tmp_path):
    bad = Step("compose", ("compose", str(tmp_path / "no"), "--rule", "first", "--out", "x"), ())
    with pytest.raises(KindredError, match=r"compose stopped: .* does not exist") as caught:
        list(walk([bad], tmp_path, "test"))
    assert not isinstance(caught.value, CheckFailed)
