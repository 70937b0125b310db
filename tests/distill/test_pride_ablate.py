"""`distill train pride --ablate`: every arm at equal budget, the table and the plot."""

import json

import pytest

from distill import walk as walking
from distill.ablate import ARMS, ablation, cells, plan_of
from distill.ablate_table import T_975, Cell, Runs, interval, markdown, plotted, table_of
from distill.core.errors import BadInput
from distill.recipe import Pride, parse_recipe, recipe_text
from distill.train import job_of
from tests.distill.pride_sets import write_known, write_pride_recipe
from tests.distill.teaching_line import outcome
from tests.models import tiny_checkpoint
from tests.training import TELLS, write_lines


@pytest.fixture
def place(tmp_path):
    tiny_checkpoint(tmp_path / "base")
    write_known(tmp_path)
    write_pride_recipe(tmp_path / "recipe.yaml")
    return tmp_path


def job(place, recipe="recipe.yaml", **inputs):
    words = (str(place / recipe), place / "sets", place / "out", str(place / "base"), False)
    return job_of(*words, **{"privileged": place / "data", **inputs})


def test_the_grid_is_five_arms_with_and_without_fields_and_the_shares():
    found = list(cells())
    assert [cell.arm for cell in found[:10:2]] == list(ARMS)
    assert [cell.share for cell in found if cell.arm == "all"] == [1.0, 0.0, 0.25, 0.5]
    same = {cell.run for cell in found if cell.arm == "CE"} | {
        cell.run for cell in found if cell.arm == "+ sources" and cell.share == 0
    }
    assert same == {"ce"} and len({cell.run for cell in found}) == 10


def test_arms_differ_in_their_part_alone(place):
    plan = plan_of(job(place), 2, None)
    by_run = {cell.run: plan.arm(cell, 1) for cell in cells()}
    assert {recipe.distill for recipe in by_run.values()} == {plan.recipe.distill}
    assert {recipe.seed for recipe in by_run.values()} == {1}
    alone = by_run["ce"]
    assert alone.teacher is None and alone.sources is None and alone.known_share == 0
    assert by_run["sources-100"].teacher is None and by_run["sources-100"].sources is not None
    assert (
        by_run["divergence-0"].loss.mmd_weight == 0 < by_run["divergence-0"].loss.divergence_weight
    )
    assert by_run["divergence-0"].teacher.model.endswith("out/teachers/plain/student")
    assert by_run["all-25"].teacher.model.endswith("out/teachers/knowing/student")
    assert by_run["all-25"].known_share == 0.25 and by_run["all-0"].sources is None
    for cell in cells():
        assert parse_recipe(plan.text(cell, 1), cell.run) == by_run[cell.run]


def test_a_dry_run_names_every_command_and_writes_nothing(place):
    commands = ablation(job(place), 3, "offline", True).data["commands"]
    trained = [line for line in commands if line.startswith("distill train")]
    assert len(trained) == 2 + 10 * 3
    assert sum(line.startswith("distill eval answer") for line in commands) == 3 * 3
    assert sum(line.startswith("distill eval winrate") for line in commands) == 2 * 3
    assert not (place / "out").exists()


def write_held_out(place):
    turns = [{"role": "user", "content": TELLS[0]}]
    write_lines(
        place / "sets/test.jsonl",
        [{"id": f"t{n}", "source": "tests", "turns": turns, "split": "test"} for n in range(2)],
    )


def test_an_ablation_trains_its_arms_once_judges_and_writes_table_and_plot(place, monkeypatch):
    """Two arms of the grid; each step runs here, by the words of its command line."""
    write_held_out(place)
    monkeypatch.setattr(walking, "run_step", lambda step, log: outcome(*step.words))
    monkeypatch.setattr("distill.ablate.ARMS", {name: ARMS[name] for name in ("CE", "all")})
    monkeypatch.setattr("distill.ablate.SHARES", ())
    found = ablation(job(place), 1, "offline", False)
    written = json.loads((place / "out/ablation.json").read_text())
    assert written == {k: v for k, v in found.data.items() if k != "out"}
    by_run = {row["run"]: row for row in written["cells"]}
    assert list(by_run) == ["ce", "all-100", "all-0"]
    assert len({row["cross_entropy"] for row in by_run.values()}) == 3
    for rival in ("ce", "all-0"):
        judged = json.loads((place / f"out/judged/{rival}-0/winrate.json").read_text())
        assert (judged["first"], judged["second"]) == ("all-100-0", f"{rival}-0")
        assert by_run[rival]["win_rate"] == judged["win_rate"]
    table = (place / "out/ablation.md").read_text()
    assert "| CE | 100% |" in table and "wins over it (offline)" in table
    assert (place / "out/ablation.png").read_bytes().startswith(b"\x89PNG")
    trained = place / "out/students/all-100-0/kindred.json"
    before = trained.stat().st_mtime_ns
    assert ablation(job(place), 1, "offline", False).data == found.data
    assert trained.stat().st_mtime_ns == before


def test_differences_are_seed_by_seed_with_students_interval(tmp_path):
    runs = Runs()
    for seed, (alone, whole) in enumerate([(3.0, 2.9), (3.5, 3.3), (3.2, 2.9)]):
        for name, loss in (("ce", alone), ("all-100", whole)):
            result = {"stages": {"pride": {"validation_loss": loss}}}
            runs.add(f"train {name}-{seed}", result, 10.0)
    for seed, rate in enumerate([0.6, None, 0.7]):
        runs.add(f"judge ce-{seed}", {"win_rate": rate}, 1.0)
    rows = table_of([Cell("CE", 1.0, "ce"), Cell("all", 1.0, "all-100")], runs, 3)
    assert rows[1]["difference"] == pytest.approx(-0.2)
    assert rows[1]["half_interval"] == pytest.approx(4.303 * 0.1 / 3**0.5, rel=1e-3)
    assert rows[0]["win_rates"] == [0.6, 0.7] and rows[0]["half_interval"] is None
    text = markdown(rows, 3, "offline")
    assert "| CE | 100% | 3.2333 |  | 65.0% ± 63.5% | 10 |" in text
    assert "| all | 100% | 3.0333 | -0.2000 ± 0.2484 |  | 10 |" in text
    plotted(rows, tmp_path / "plot.png")
    assert interval([1.0]) is None and interval([1.0] * 20) == (1.0, 0.0)


def test_the_table_of_quantiles_is_students():
    stats = pytest.importorskip("scipy.stats")
    assert pytest.approx([stats.t.ppf(0.975, n) for n in range(1, 11)], abs=5e-4) == T_975


def test_what_cannot_be_taken_apart_is_refused(place):
    from distill.learning.job import Job

    write_pride_recipe(place / "half.yaml", sources=None)
    with pytest.raises(BadInput, match="--ablate needs a recipe with every part"):
        ablation(job(place, "half.yaml"), 1, None, True)
    with pytest.raises(BadInput, match="asks its teachers live, with fields: give --privileged"):
        ablation(job(place, privileged=None), 1, None, True)
    recipe = parse_recipe(recipe_text("starter"), "starter")
    assert not isinstance(recipe, Pride)
    other = Job(recipe, "", "starter", place / "sets", place / "out")
    with pytest.raises(BadInput, match="takes PRIDE apart, and this recipe is of two-step"):
        plan_of(other, 1, None)
