"""The choice of a type: what fits, what is not inferior, and the smallest of those."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from distill.core.errors import Unavailable
from distill.core.manifest import read_manifest
from export.agreement import Agreement, Passage
from export.choice import (
    bounds,
    far_too_much,
    inferior,
    limits_for,
    nearest,
    room_to_choose,
    smallest,
    tidy,
    too_much,
)
from export.device import Memory, memory_of
from export.frontier import Candidate
from export.judging import Bout
from export.making import Bench, Order, room_for
from export.parity import Texts
from export.quantize import Plan
from runtime.device import Profile
from tests.export.commands import export, left_behind, one_line
from tests.export.students import few_dialogues
from tests.models import tiny_checkpoint


def test_memory_is_what_the_process_takes(lively_f16):
    """Cache and buffers that llama.cpp names, against the resident memory that they cost."""
    import llama_cpp

    profile = Profile(says="a tablet", threads=1, memory_mb=1024, context=1024, parallel=1)
    found = memory_of(lively_f16, profile)
    assert found.weights == lively_f16.stat().st_size
    heads, width, layers = 2, 64, 2
    assert found.cache == 2 * heads * width * layers * 1024 * 2  # f16, keys and values
    process = psutil.Process()
    model = llama_cpp.Llama(str(lively_f16), n_ctx=1024, n_batch=256, n_ubatch=256, verbose=False)
    before = process.memory_info().rss
    model.close()
    model = llama_cpp.Llama(str(lively_f16), n_ctx=1024, n_batch=256, n_ubatch=256, verbose=False)
    model.eval([5] * 900)
    grown = process.memory_info().rss - before
    model.close()
    assert grown <= 1.5 * found.total + 10 * 2**20


def pair_of(klds: list[float], same: list[int], positions: int = 10) -> Agreement:
    pair = Agreement("torch", "Q4")
    for kld, right in zip(klds, same, strict=True):
        rows = np.zeros(positions, bool)
        rows[:right] = True
        pair.add(
            Passage([0] * (positions + 1), positions + 1, False), np.full(positions, kld), rows
        )
    return pair


def test_bounds_hold_the_figure_between_them():
    figures = bounds(pair_of([0.01, 0.02, 0.03, 0.02] * 4, [9, 10, 10, 9] * 4))
    assert 0.01 < figures["mean_kld_low"] < figures["mean_kld"] == pytest.approx(0.02)
    assert figures["mean_kld"] < figures["mean_kld_high"] < 0.03
    assert 0.9 <= figures["top1_low"] < figures["top1"]


def test_a_mean_within_the_limit_whose_bound_is_not_is_inferior():
    limits = limits_for(None, None, 0.08)
    figures = bounds(pair_of([0.001] * 8 + [0.5], [10] * 9))
    assert figures["mean_kld"] < 0.08
    (said,) = inferior(figures, limits)
    assert said.startswith("KLD up to")
    (said,) = inferior(bounds(pair_of([0.001] * 9, [8] * 9)), limits)
    assert said.startswith("top-1 down to")
    assert inferior(bounds(pair_of([0.001] * 9, [10] * 9)), limits) == []


def test_limits_without_a_divergence_are_those_of_four_bits():
    limits = limits_for("phone-4gb", 10**6, None)
    assert (limits.max_kld, limits.least_top1) == (0.08, 0.88)
    assert limits_for(None, None, 0.004).least_top1 == 0.99
    assert limits_for(None, None, 0.005).least_top1 == 0.97
    assert limits_for(None, None, 9.0).max_kld == 2.0
    memory = Memory(2 * 10**9, 10**6, 10**6)
    assert too_much(2 * 10**6, memory, limits) == ["over 1.0 MB", "needs 2002 MB of memory"]
    assert too_much(10, Memory(1, 1, 1), limits) == []


def test_a_type_whose_name_says_too_much_is_not_written():
    limits = limits_for(None, 10**6, None)
    found = far_too_much("F16", 10**6, limits)
    assert found.against == ["over 1.0 MB"] and found.figures == {}
    assert far_too_much("Q4_K_M", 10**6, limits) is None


def three() -> list[tuple[Candidate, Plan]]:
    small = Candidate("Q2", 10, 2.0, against=["KLD up to 0.3 > 0.08"])
    middle, large = Candidate("Q4", 20, 4.0), Candidate("Q8_0", 40, 8.0)
    return [(c, Plan(c.kind)) for c in (large, middle, small)]


class Written:
    """A bench whose files have names only."""

    def write(self, plan: Plan) -> tuple[Path, None]:
        return Path(plan.type), None

    def plain(self) -> Path:
        return Path("F16")


class Harsh:
    """A judge that prefers F16 to all but the largest."""

    def against(self, plain: Path, file: Path, name: str) -> dict:
        worse = name != "Q8_0"
        return {"win_rate": 0.2 if worse else 0.5, "against": ["the judge"] if worse else []}


def test_the_smallest_against_which_nothing_speaks_is_chosen():
    assert smallest(three(), None, Written())[0].kind == "Q4"
    found = three()
    assert smallest(found, Harsh(), Written())[0].kind == "Q8_0"
    assert found[1][0].figures == {"win_rate": 0.2}
    assert smallest(three()[2:], None, Written()) is None
    assert nearest(three()[2:]) == "Q2: KLD up to 0.3 > 0.08; Q2: KLD up to 0.3 > 0.08"


class Forgetting:
    """A bench that remembers which files it was told to remove."""

    def __init__(self) -> None:
        self.gone: list[str] = []

    def forget(self, kind: str) -> None:
        self.gone.append(kind)


def test_files_that_cannot_be_chosen_any_more_are_removed():
    for every, gone in ((False, ["Q8_0", "Q2"]), (True, ["Q2"])):
        at = Forgetting()
        tidy(three(), at, every=every)
        assert at.gone == gone


def order(kind: str = "Q8_0") -> Order:
    return Order(kind, "", Texts([], [], "none"))


def test_a_file_of_a_type_is_written_once(lively, lively_f16, tmp_path):
    at = Bench(lively, tmp_path, order())
    (tmp_path / "F16.gguf").hardlink_to(lively_f16)
    path, found = at.write(Plan("Q8_0"))
    first = path.stat()
    assert at.write(Plan("Q8_0", reason="chosen")) == (path, found)
    assert path.stat().st_mtime_ns == first.st_mtime_ns
    at.forget("Q8_0"), at.forget("Q6_K")
    assert not path.exists()


def test_the_disk_must_hold_what_is_written_and_no_more(lively):
    assert room_for(order("F16"), 10**9) == 2 * 10**9
    assert room_for(order("F32"), 10**9) == 6 * 10**9
    assert room_for(order("Q8_0"), 10**9) == pytest.approx(3.06e9, rel=0.01)
    mixed = room_for(order("Q4_K_M"), 10**9)
    own = room_for(Order("Q4_K_M", "", Texts([], [], "none"), own_mix=True), 10**9)
    assert own < mixed < 4 * 10**9
    few = room_to_choose(lively, order(), None)
    assert mixed / 10**9 < few / 0.8e6 < room_to_choose(lively, order(), "offline") / 0.8e6


def test_a_judge_that_cannot_be_asked_is_named(tmp_path):
    with pytest.raises(Unavailable, match="distill eval winrate could not judge: error: "):
        Bout("offline", tmp_path / "nowhere.jsonl", tmp_path).run(
            "winrate", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--out", tmp_path / "out"
        )


@pytest.fixture(scope="module")
def student(tmp_path_factory) -> Iterator[Path]:
    return tiny_checkpoint(tmp_path_factory.mktemp("choice") / "student")


def few(folder: Path) -> list:
    """Little text to measure on, and other to weigh by."""
    text = few_dialogues(folder / "text.jsonl")
    return ["--text", text, "--imatrix", few_dialogues(folder / "few.jsonl", first=8)]


def test_a_device_gets_the_smallest_file_that_keeps_the_limits(student, tmp_path):
    profile = tmp_path / "watch.yaml"
    profile.write_text("{says: a watch, threads: 1, memory_mb: 320, context: 256, parallel: 1}")
    words = ["--device", profile, "--out", tmp_path / "edge", *few(tmp_path), "--json"]
    done = export("gguf", student, *words)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    manifest = read_manifest(Path(said["path"]))
    measured = {one["type"]: one for one in manifest.quantization["choice"]}
    assert list(measured) == ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "IQ2_M"]
    fitting = [one for one in measured.values() if not one["against"]]
    assert said["type"] == min(fitting, key=lambda one: one["size_bytes"])["type"]
    assert "the smallest that keeps the limits" in said["reason"]
    assert (tmp_path / "edge" / "student-frontier.png").stat().st_size > 5000
    assert measured["F16"]["mean_kld"] < measured["Q4_K_M"]["mean_kld"]


def test_limits_that_nothing_keeps_leave_nothing(student, tmp_path):
    words = ["--max-bytes", 1000, "--out", tmp_path / "edge", *few(tmp_path)]
    done = export("gguf", student, *words)
    assert done.returncode == 1
    assert "no type of" in done.stderr and "over 0.0 MB" in done.stderr
    assert left_behind(tmp_path / "edge") == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--max-kld", 0.1, "--no-gate"), "leave --no-gate or the limits away"),
        (("--max-kld", 0.1, "--bits", 4), "the limits choose one; give one"),
        (("--judge", "offline"), "give --device, --max-bytes or --max-kld too"),
        (("--max-kld", 0.1, "--judge", "offline"), "give held-out ones with --text"),
        (("--device", "fridge"), "there is no profile fridge; use phone-4gb"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, said, student, tmp_path):
    done = export("gguf", student, "--out", tmp_path / "edge", *words)
    assert done.returncode == 2 and said in one_line(done)
    assert left_behind(tmp_path / "edge") == []
