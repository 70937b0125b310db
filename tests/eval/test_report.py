"""The report as a page: what it says, what it needs, what it never says."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from distill.core.jsonl import digest_text
from eval.pages.artifact import artifact_section
from eval.pages.comparison import comparison
from eval.pages.evidence import read_evidence
from eval.pages.html import bound, html
from eval.pages.making import making
from eval.pages.markdown import markdown
from eval.pages.measured import measured
from eval.pages.ranking import ranking
from eval.pages.samples import dialogues, doubts
from eval.pages.speed import speed_section
from eval.pages.summary import summary
from eval.report import build
from tests.eval.crowd import Crowd
from tests.eval.pairs import distill
from tests.eval.run_folder import MACHINE, NOTE, RunFolder

VOID = {"meta", "img", "br", "hr", "input", "link", "use", "path"}
ATTACK = "<script>alert('x')</script> **bold** | [a](http://x) & <img src=x onerror=y>"
PARTS = {
    "Win rate": comparison,
    "Candidates against each other": ranking,
    "Measures without a judge": measured,
    "Latency and memory": speed_section,
    "The file": artifact_section,
    "How it was made": making,
    "Sample dialogues": dialogues,
    "Verdicts to read": doubts,
}


def pairs(count: int = 12) -> list[tuple[str, str, str]]:
    return [
        (f"My dog number {n} ran away.", f"Dog {n} must be missed so much.", f"Dogs {n}.")
        for n in range(count)
    ]


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run", pairs()).write_all()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A page of a whole run with every section, for tests that only look."""
    run = Crowd(tmp_path_factory.mktemp("whole") / "run", 24, ("one-step",)).write_everything()
    return html(page_of(run))


def page_of(run):
    return build(read_evidence(run.path))


def section(run, title):
    return PARTS[title](read_evidence(run.path))


class Reader(HTMLParser):
    """What an HTML page is made of; refuses tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[str]] = []
        self.text: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self.tables.append([])
        if "table" in self.open:
            self.tables[-1].append(tag)
        if tag not in VOID or "svg" in self.open:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_one_command_writes_html_markdown_and_json_keyed_by_the_digest(run):
    done = distill("eval", "report", run.path, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    sha256 = run.sha256
    assert found["artifact_sha256"] == sha256
    data = json.loads((run.path / "report/report.json").read_text())
    assert data["artifact_sha256"] == sha256 and data["summary"] == found["summary"]
    assert data["winrate"]["wins"] == 12 and data["latency"]["threads"] == 2
    assert data["absent"] == {}
    for kind in ("html", "markdown"):
        text = Path(found[kind]).read_text("utf-8")
        assert sha256 in text and "decided pairs" in text.replace("\u00a0", " ")


def test_the_command_tells_its_summary_and_what_is_absent(run):
    (run.path / "latency.json").unlink()
    done = distill("eval", "report", run.path)
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith("student-Q4_K_M.gguf (12.0 kB, 4.94 bits per weight) beats base")
    assert "latency.json is not there" in done.stdout and "report.html" in done.stdout


def test_sections_stand_in_their_order(whole):
    shown = re.findall(r"<h2[^>]*>(.*?)</h2>", whole)
    assert shown == list(PARTS)


def test_the_same_folder_gives_the_same_bytes(run):
    assert html(page_of(run)) == html(page_of(run))


def test_the_page_needs_nothing_else(whole):
    reader = Reader(whole)
    assert not reader.named("script") and not reader.named("link") and not reader.named("iframe")
    assert all(image["src"].startswith("data:image/png;base64,") for image in reader.named("img"))
    assert all(link["href"].startswith("#") for link in reader.named("a"))
    assert all(use["xlink:href"].startswith("#") for use in reader.named("use"))
    assert "http:" not in whole and "https:" not in whole and "@import" not in whole
    assert re.findall(r"url\((?!#)", whole) == []
    policy = {"http-equiv": "Content-Security-Policy"}.items()
    assert any(policy <= meta.items() for meta in reader.named("meta"))


def test_tables_and_pictures_can_be_read_without_eyes(whole):
    reader = Reader(whole)
    assert reader.tables and all(table[0] == "caption" for table in reader.tables)
    assert all(cell.get("scope") in ("row", "col") for cell in reader.named("th"))
    assert all(len(image["alt"] or "") > 20 for image in reader.named("img"))
    drawings = [d for d in reader.named("div") if d.get("role") == "img"]
    assert len(drawings) == len(reader.named("svg")) == 8
    assert all(len(drawing["aria-label"] or "") > 20 for drawing in drawings)
    assert reader.named("html")[0]["lang"] == "en" and len(reader.named("h1")) == 1


def test_ids_of_the_page_are_unique(whole):
    ids = [a["id"] for _, a in Reader(whole).tags if "id" in a]
    assert len(ids) == len(set(ids))


def test_plots_take_the_colours_of_the_page(whole):
    assert "prefers-color-scheme: dark" in whole and "var(--mine)" in whole
    assert not re.search(r"#0[0-9]0[0-9]0[0-9]", whole) and "DejaVu" not in whole


def test_markup_in_an_answer_or_a_name_is_shown_and_never_run(tmp_path):
    texts = [(ATTACK, ATTACK, ATTACK.replace("x", "y")) for _ in range(3)]
    run = RunFolder(tmp_path / "run", texts, ["<b>0</b>", "d$1$", "d2"]).write_all()
    page = page_of(run)
    text = html(page)
    reader = Reader(text)
    assert "script" not in {tag for tag, _ in reader.tags} and "<b>0" not in text
    assert "onerror" not in {name for _, attributes in reader.tags for name in attributes}
    assert any(ATTACK in shown for shown in reader.text)
    assert not re.search(r"(?<!\\)<", markdown(page))


def test_the_judge_and_its_agreement_stand_beside_the_number(run):
    shown = section(run, "Win rate")
    assert shown.headlines[0].value == "100 %"
    assert "12 decided pairs" in shown.headlines[0].label
    assert "95 % interval 76 % to 100 %" in shown.headlines[0].label
    assert shown.beside[0] == "Judge: offline. Version: offline (24 verdicts)."
    assert shown.beside[1] == f"It {NOTE}."
    lead = re.search(r'<div class="lead">.*?<div class="figures">', html(page_of(run)), re.S)[0]
    assert "100\u00a0%" in lead and "people that" not in lead and "57\u00a0%" in lead


def test_an_agreement_that_nobody_measured_is_said_to_be_unmeasured(run):
    run.change_winrate(agreement_note=None)
    assert "Its agreement with people was not measured." in section(run, "Win rate").beside
    assert "agreement with people was not measured" in summary(read_evidence(run.path))


def test_a_comparison_that_decides_nothing_has_no_rate(run):
    run.write_judged(lambda turns, first, second: "first")
    shown = section(run, "Win rate")
    assert shown.headlines[0].value == "no rate"
    assert "nothing was decided" in shown.headlines[0].label
    assert ("flips", "12", "100 %", "the verdict changed when the replies changed places") in list(
        shown.tables[0].rows
    )
    assert shown.figures[0].description == "Of 12 pairs: flips 12."
    assert "interval" not in shown.figures[0].content
    said = summary(read_evidence(run.path))
    assert "nothing was decided" in said and "wins" not in said


def test_a_rate_without_decided_pairs_is_not_repeated(run):
    run.change_winrate(wins=0, losses=0, win_rate=1.0, interval=[0.9, 1.0])
    assert section(run, "Win rate").headlines[0].value == "no rate"


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ([0.55, 0.9], "beats base"),
        ([0.45, 0.9], "is not shown to differ from base"),
        ([0.1, 0.45], "loses to base"),
        (None, "is not shown to differ from base"),
    ],
)
def test_better_or_worse_is_said_only_when_the_whole_interval_says_so(run, interval, said):
    run.change_winrate(interval=interval)
    assert said in summary(read_evidence(run.path))


def test_the_summary_is_one_sentence_with_every_figure_that_decides(run):
    said = summary(read_evidence(run.path))
    for part in ("12.0 kB", "4.94 bits", "100 % of 12 decided", NOTE, "34 ms", "71.3 MB"):
        assert part in said
    assert said.endswith(".") and ". " not in said


def test_a_gate_that_failed_is_loud_and_one_that_is_unknown_is_said(run):
    run.write_artifact(parity={"passed": False, "failed": ["top-1 80 % < 88 %"], "links": []})
    shown = section(run, "The file")
    assert shown.headlines[-1].value == "failed"
    assert "Missed its limit: top-1 80 % < 88 %." in shown.beside
    assert "parity gate FAILED" in summary(read_evidence(run.path))
    run.write_artifact(parity={})
    assert section(run, "The file").headlines[-1].value == "not recorded"
    assert "parity gate not recorded" in summary(read_evidence(run.path))


def test_gate_figures_stand_beside_their_limits(run):
    tables = {table.caption: table.rows for table in section(run, "The file").tables}
    rows = tables["Parity gate: Q4_K_M against F16"]
    assert ("mean KLD", "0.0312", "≤ 0.08") in rows
    assert ("top-1 agreement", "91.40 %", "≥ 88 %") in rows
    assert ("ends where the other ends", "not measured", "none") in rows
    held = dict(tables["What the file holds"])
    assert held["tensors that fell back to another type"] == "blk.0.ffn_down.weight Q8_0"
    assert held["effective bits per weight"] == "4.941"


@pytest.mark.parametrize(
    ("part", "title", "said"),
    [
        ("judged", "Win rate", "judged/winrate.json is not there"),
        ("latency.json", "Latency and memory", "latency.json is not there"),
        ("edge", "The file", "holds no manifest"),
        ("sets", "Sample dialogues", "sets/test.jsonl is not there"),
        ("answers", "Sample dialogues", "answers/*.jsonl is not there"),
    ],
)
def test_what_is_absent_is_said_and_never_scored(run, part, title, said):
    path = run.path / part
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    shown = section(run, title)
    assert said in (shown.absent or "") and shown.headlines == [] and shown.samples == []
    text = html(page_of(run))
    Reader(text)
    assert said.split("/")[-1] in text


def test_a_run_without_its_training_record_says_so(run):
    shutil.rmtree(run.path / "student")
    shown = section(run, "How it was made")
    assert "Training curves: student/curves.png is not there." in shown.beside
    assert dict(shown.tables[0].rows)["recipe sha256"] == digest_text("recipe")
    shutil.rmtree(run.path / "edge")
    shutil.rmtree(run.path / "sets")
    assert "Not known" in (section(run, "How it was made").absent or "")


def test_figures_that_a_command_did_not_write_are_not_measured(run):
    run.change_latency(tokens_per_s=None, peak_memory_bytes=None, machine=None)
    shown = section(run, "Latency and memory")
    assert [headline.value for headline in shown.headlines] == [
        "34 ms",
        "not measured",
        "not measured",
    ]
    assert shown.beside == ["Machine: not stated."]


@pytest.mark.parametrize(("load", "said"), [(2.9, False), (7.25, True), (None, False)])
def test_figures_of_a_busy_machine_are_said_to_be_slower_than_the_file(run, load, said):
    run.change_latency(machine=MACHINE | {"load_before": load})
    beside = " ".join(section(run, "Latency and memory").beside)
    assert ("7.2 processes wanted its 2 cores before the first question" in beside) == said


def test_samples_are_the_first_twenty_by_digest_of_the_id(tmp_path):
    run = RunFolder(tmp_path / "run", pairs(24)).write_all()
    shown = section(run, "Sample dialogues").samples
    assert [s.dialogue_id for s in shown] == sorted(run.ids, key=digest_text)[:20]
    assert "smallest sha256" in section(run, "Sample dialogues").beside[0]
    assert [reply.candidate for reply in shown[0].replies] == ["student", "base"]
    assert {sample.verdict for sample in shown} == {"judged better: student"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (lambda t, a, b: "first" if "Dogs" in a else "second", "judged better: base"),
        (lambda t, a, b: "tie", "judged equally good"),
        (lambda t, a, b: "first", "undecided: the verdict changed with the order"),
        (lambda t, a, b: "unreadable", "undecided: no readable verdict"),
    ],
)
def test_every_sample_says_how_it_was_judged(run, script, said):
    run.write_judged(script)
    assert {s.verdict for s in section(run, "Sample dialogues").samples} == {said}


def test_equal_texts_are_a_tie_and_an_unjudged_pair_is_not_judged(tmp_path):
    run = RunFolder(tmp_path / "run", [("Hi.", "Hello.", "Hello."), ("Ho.", "A.", "B.")])
    run.write_all()
    assert {s.verdict for s in section(run, "Sample dialogues").samples} == {
        "equal texts: a tie",
        "judged better: student",
    }
    (run.path / "judged/judgements.jsonl").unlink()
    assert "not judged" in {s.verdict for s in section(run, "Sample dialogues").samples}


def test_a_number_keeps_its_unit_on_its_line():
    assert bound("92 % of 3 pairs in 34 ms, 4 people, 85 % to 95 %") == (
        "92\u00a0% of 3\u00a0pairs in 34\u00a0ms, 4 people, 85\u00a0%\u00a0to\u00a095\u00a0%"
    )
