"""distill compose: training sets in the format of a trainer, with a card."""

import json

import pytest

from distill.compose import NAMES, compose_folder, write
from distill.core.errors import BadInput
from distill.core.jsonl import read_jsonl, sha256_of
from distill.core.records import Dialogue, Response
from distill.corpora.reading import Request
from distill.gather import gather
from distill.gather import write as write_gathered
from tests.distill.command_line import distill, outcome, refusal
from tests.distill.raw_corpora import rated_csv, rated_row, story, write_lines

TRL = [
    "dataset_card.json",
    "preferences.jsonl",
    "preferences_valid.jsonl",
    "sft.jsonl",
    "sft_valid.jsonl",
    "test.jsonl",
]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("starter") / "data"
    write_gathered(gather(["starter", "curriculum"], Request(parts="f", count=100)), folder)
    return folder


@pytest.fixture
def rated(tmp_path):
    """Sixty dialogues with every combination of the human's rating and the models'."""
    ratings = [(n % 3 + 1, n // 3 % 3 + 1, 3, 3, n // 9 % 3 + 1) for n in range(60)]
    rows = [rated_row(number, rating) for number, rating in enumerate(ratings)]
    file = rated_csv(tmp_path / "raw.csv", rows)
    write_gathered(gather([f"rated-responses={file}"]), tmp_path / "data")
    return tmp_path / "data"


def test_improved_replies_become_the_sets_that_trl_reads(starter, tmp_path):
    out = tmp_path / "sets"
    found = outcome("compose", starter, "--rule", "improved", "--out", out)
    assert sorted(f.name for f in out.iterdir()) == TRL
    dialogues = {d.id: d for d in read_jsonl(starter / "dialogues.jsonl", Dialogue)}
    responses = read_jsonl(starter / "responses.jsonl", Response)
    improved = {
        r.text: dialogues[r.dialogue_id].messages() for r in responses if r.strategy == "improved"
    }
    train = [d for d in dialogues.values() if d.split == "train"]
    sft, preferences = rows_of(out / "sft.jsonl"), rows_of(out / "preferences.jsonl")
    assert len(sft) == len(train) == found["rows"]["sft"]
    learned = [r for r in responses if dialogues[r.dialogue_id].split == "train"]
    assert len(preferences) == len(learned) - len(train)
    assert {r.strategy for r in learned} == {"plain", "direct", "improved", "stray", "loop"}
    for row in sft:
        *asked, reply = row["messages"]
        assert reply["role"] == "assistant" and improved[reply["content"]] == asked
    for row in preferences:
        assert [set(row), len(row["chosen"]), len(row["rejected"])] == [
            {"prompt", "chosen", "rejected"}, 1, 1
        ]  # fmt: skip
        assert improved[row["chosen"][0]["content"]] == row["prompt"]
        assert row["rejected"][0] not in row["chosen"]
    test = read_jsonl(out / "test.jsonl", Dialogue)
    assert {d.split for d in test} == {"test"} and len(test) == found["rows"]["test"]


def test_no_privileged_word_reaches_a_training_set(starter, tmp_path):
    write(compose_folder(starter, "improved"), tmp_path / "sets")
    rows = rows_of(tmp_path / "sets/sft.jsonl") + rows_of(tmp_path / "sets/test.jsonl")
    assert {key for row in rows for key in row} == {"messages", "id", "source", "turns", "split"}


def test_the_first_rule_prefers_the_direct_to_the_plain_and_the_spoiled_replies(starter, tmp_path):
    part = compose_folder(starter, "first").parts["train"]
    assert all(r.strategy == "direct" for _, r in part.targets)
    rejected = {p.because.rpartition(" over ")[2] for p in part.preferences}
    assert rejected == {
        f"{name} rated 1"
        for name in ("starter plain", "curriculum plain", "curriculum stray", "curriculum loop")
    }
    plain = [p for p in part.preferences if "plain" in p.because]
    assert len(plain) == len(part.targets) and all("direct" in p.because for p in part.preferences)


def test_the_card_counts_measures_and_names_its_sources(rated, tmp_path):
    out = tmp_path / "sets"
    card = outcome("compose", rated, "--rule", "direct-distillation", "--out", out)
    assert json.loads((out / "dataset_card.json").read_text()) == {
        key: value for key, value in card.items() if key not in ("out", "rows")
    }
    sft = card["sets"]["sft"]
    assert sft["rows"] == len(rows_of(out / "sft.jsonl")) == sum(sft["targets"].values())
    assert set(sft["targets"]) == {
        f"{who} rated 3" for who in ("human", "chatgpt", "llama", "gemini", "mixtral")
    }
    assert all(
        " rated 3 over human rated " in pair for pair in card["sets"]["preferences"]["pairs"]
    )
    assert sft["words"]["response"]["count"] == sft["rows"]
    assert card["files"] == {
        name: sha256_of(out / name) for name in TRL if name != "dataset_card.json"
    }
    assert card["inputs"]["dialogues.jsonl"] == sha256_of(rated / "dialogues.jsonl")
    assert card["corpora"][0]["name"] == "rated-responses"


def test_a_responder_alone_gives_a_part_of_all_together(rated, tmp_path):
    words = ["compose", rated, "--rule", "direct-distillation"]
    everyone = outcome(*words, "--out", tmp_path / "all")
    alone = outcome(*words, "--responder", "llama", "--out", tmp_path / "one")
    assert 0 < alone["rows"]["preferences"] < everyone["rows"]["preferences"]
    assert set(alone["sets"]["sft"]["targets"]) == {"human rated 3", "llama rated 3"}
    assert alone["responders"] == ["llama"]
    texts = [(tmp_path / f"{name}/sft.jsonl").read_text().splitlines() for name in ("one", "all")]
    assert set(texts[0]) < set(texts[1])
    assert len(texts[1]) == len(set(texts[1]))


def test_improved_human_uses_what_a_teacher_wrote_later(rated, tmp_path):
    words = ["compose", rated, "--rule", "improved-human", "--out", tmp_path / "sets"]
    done = distill(*words)
    assert done.returncode == 0
    assert "preferences is empty: " in done.stderr
    responses = read_jsonl(rated / "responses.jsonl", Response)
    weak = next(
        r for r in responses
        if r.author == "human" and r.rating == 1 and r.dialogue_id in train_ids(rated)
    )  # fmt: skip
    better = weak.model_copy(
        update={"id": "b", "author": "teacher", "improves": weak.id, "strategy": "naive"}
    )
    with (rated / "responses.jsonl").open("a") as file:
        file.write(json.dumps({**better.model_dump(exclude={"rating"}), "text": "Better."}) + "\n")
    assert outcome(*words)["rows"]["preferences"] == 1
    assert outcome(*words, "--strategy", "naive")["strategy"] == "naive"
    error = refusal(*words, "--strategy", "cognitive")
    assert "by the strategy cognitive; here are: naive (distill improve writes them)" in error
    (pair,) = rows_of(tmp_path / "sets/preferences.jsonl")
    assert (pair["chosen"][0]["content"], pair["rejected"][0]["content"]) == ("Better.", weak.text)


def train_ids(folder):
    dialogues = read_jsonl(folder / "dialogues.jsonl", Dialogue)
    return {dialogue.id for dialogue in dialogues if dialogue.split == "train"}


def test_llamafactory_gets_sharegpt_and_its_description(starter, tmp_path):
    out = tmp_path / "sets"
    words = ["compose", starter, "--rule", "improved", "--format", "llamafactory", "--out", out]
    found = outcome(*words)
    info = json.loads((out / "dataset_info.json").read_text())
    assert sorted(info) == [
        "kindred_preferences", "kindred_preferences_valid", "kindred_sft", "kindred_sft_valid"
    ]  # fmt: skip
    for name, entry in info.items():
        rows = json.loads((out / entry["file_name"]).read_text())
        assert len(rows) == found["rows"][name.removeprefix("kindred_")]
        assert entry["formatting"] == "sharegpt"
        assert entry.get("ranking", False) == ("preferences" in name)
        for row in rows:
            assert set(row) == set(entry["columns"].values())
            speakers = [turn["from"] for turn in row["conversations"]]
            assert speakers == (["human", "gpt"] * len(speakers))[: len(speakers)]
            assert speakers[-1] == ("human" if "preferences" in name else "gpt")
    assert "preferences.jsonl" not in found["files"]


def test_a_system_turn_has_its_own_column_in_sharegpt(tmp_path):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": story(1)}]
    rows = [{"split": "train", "messages": [*messages, {"role": "assistant", "content": "Oh."}]}]
    file = write_lines(tmp_path / "own.jsonl", rows)
    write_gathered(gather([f"messages={file}"]), tmp_path / "data")
    write(compose_folder(tmp_path / "data", "as-given"), tmp_path / "sets", "llamafactory")
    assert sorted(f.name for f in (tmp_path / "sets").iterdir()) == [
        "dataset_card.json", "dataset_info.json", "sft.json", "test.jsonl"
    ]  # fmt: skip
    (row,) = json.loads((tmp_path / "sets/sft.json").read_text())
    assert row["system"] == "Be kind."
    assert row["conversations"] == [
        {"from": "human", "value": story(1)}, {"from": "gpt", "value": "Oh."}
    ]  # fmt: skip


def test_the_same_seed_writes_the_same_bytes_and_formats_may_take_turns(starter, tmp_path):
    out = tmp_path / "sets"
    write(compose_folder(starter, "improved", seed=3), out)
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    write(compose_folder(starter, "improved", seed=3), out, "llamafactory")
    assert set(NAMES) >= {f.name for f in out.iterdir()} != set(before)
    write(compose_folder(starter, "improved", seed=3), out)
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
    write(compose_folder(starter, "improved", seed=4), out)
    assert (out / "sft.jsonl").read_bytes() != before["sft.jsonl"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--rule", "worst"], "there is no rule named worst; known are: improved, first,"),
        (["--rule", "direct-distillation"], "the rule direct-distillation finds nothing to imit"),
        (["--rule", "improved", "--responder", "x"], "--responder does not go with the rule impr"),
        (["--rule", "first", "--strategy", "x"], "--strategy does not go with the rule first"),
        (["--rule", "as-given", "--responder", "x"], "no responder is named x; here are: curricu"),
        (["--rule", "improved", "--format", "csv"], "there is no format named csv; known are: trl"),
    ],
    ids=["rule", "nothing", "responder", "strategy", "nobody", "format"],
)
def test_what_a_person_can_mend_is_one_line(starter, tmp_path, words, expected):
    out = tmp_path / "sets"
    error = refusal("compose", starter, *words, "--out", out)
    assert error.startswith(f"error: {expected}")
    assert len(error.splitlines()) == 1
    assert not out.exists()


def test_data_that_was_not_gathered_or_is_broken_is_refused(starter, tmp_path):
    out = tmp_path / "sets"
    missing = refusal("compose", tmp_path / "no", "--rule", "first", "--out", out)
    assert missing == (
        f"error: {tmp_path}/no/dialogues.jsonl does not exist; "
        "distill gather, teach, improve or curate writes it"
    )
    broken = copied(starter, tmp_path / "broken")
    lines = (broken / "responses.jsonl").read_text().splitlines()
    lines[1] = lines[1].replace('"rating": 2', '"rating": 9')
    lines[4] = '{"id"'
    (broken / "responses.jsonl").write_text("\n".join(lines))
    error = refusal("compose", broken, "--rule", "first", "--out", out)
    assert error.startswith("error: 2 broken lines; mend or delete, nothing was written:")
    assert "responses.jsonl:2: rating: " in error and "responses.jsonl:5: not valid JSON" in error
    assert not out.exists()


def copied(folder, target):
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    return target


def test_a_response_to_nothing_and_a_dialogue_twice_are_refused(starter, tmp_path):
    stray = copied(starter, tmp_path / "stray")
    rows = (stray / "dialogues.jsonl").read_text().splitlines(keepends=True)
    (stray / "dialogues.jsonl").write_text("".join(rows[1:]))
    with pytest.raises(BadInput, match=r"f-001/plain answers f-001, which is not in dialogues"):
        compose_folder(stray, "first")
    (stray / "dialogues.jsonl").write_text("".join([*rows, rows[0]]))
    with pytest.raises(BadInput, match=r"dialogues.jsonl holds f-001 twice; gather the data again"):
        compose_folder(stray, "first")
