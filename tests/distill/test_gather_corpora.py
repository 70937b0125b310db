"""The corpora that are read from files: what becomes of a raw row, and which rows are refused."""

import pytest

from distill.core.errors import BadInput
from distill.core.jsonl import Problems
from distill.core.records import Turn
from distill.corpora.reading import Request, conversation
from distill.corpora.table import reader
from tests.distill.raw_corpora import (
    MITI_RESPONDERS,
    official_csv,
    rated_csv,
    rated_row,
    story,
    support_talk,
    talk,
    write_lines,
)


def read(name, path):
    """What a corpus makes of a path; broken rows raise."""
    problems = Problems()
    reading = reader(name)(Request(path=path), problems)
    problems.refuse()
    return reading


def only(reading):
    assert len(reading.items) == 1
    return reading.items[0]


def roles(dialogue):
    return [turn.role for turn in dialogue.turns]


def test_a_talk_ends_with_the_last_turn_that_the_listener_replies_to(tmp_path):
    write_lines(tmp_path / "train.jsonl", [talk(1, turns=5)])
    item = only(read("empathetic-dialogues", tmp_path))
    assert item.dialogue.id == "hit:1_conv:1"
    assert roles(item.dialogue) == ["user", "assistant", "user"]
    (reply,) = item.responses
    assert (reply.author, reply.text, reply.rating) == ("human", "How unkind!", None)
    assert item.privileged.fields == {
        "emotion": "lonely",
        "situation": "Waiting at 1 alone, again",
        "next": "Speaker: Thank you for asking1.",
    }


def test_the_official_csv_gives_what_the_json_lines_give(tmp_path):
    talks = [talk(number, turns=number) for number in (2, 3, 4, 5, 6)]
    lines = read("empathetic-dialogues", write_lines(tmp_path / "valid.jsonl", talks))
    table = read("empathetic-dialogues", official_csv(tmp_path / "csv/valid.csv", talks))
    assert table.items == lines.items
    assert {item.dialogue.split for item in table.items} == {"valid"}
    assert "," in table.items[0].dialogue.turns[0].content


def test_the_official_split_is_kept_and_a_file_without_one_says_so(tmp_path):
    for split, number in (("train", 1), ("valid", 2), ("test", 3)):
        write_lines(tmp_path / f"{split}.jsonl", [talk(number)])
    items = read("empathetic-dialogues", tmp_path).items
    assert {i.dialogue.id: i.dialogue.split for i in items} == {
        "hit:1_conv:1": "train", "hit:2_conv:2": "valid", "hit:3_conv:3": "test"
    }  # fmt: skip
    sample = read("empathetic-dialogues", write_lines(tmp_path / "sample.jsonl", [talk(4)]))
    assert sample.remarks == ["sample.jsonl names no split; each conversation got one by id"]


def test_a_talk_without_a_reply_is_left_out_and_counted(tmp_path):
    write_lines(tmp_path / "train.jsonl", [talk(1, turns=1), talk(2)])
    reading = read("empathetic-dialogues", tmp_path)
    assert len(reading.items) == 1
    assert reading.left_out == {"the listener never replies": 1}


def test_two_files_of_one_split_are_refused(tmp_path):
    write_lines(tmp_path / "train.jsonl", [talk(1)])
    official_csv(tmp_path / "train.csv", [talk(1)])
    with pytest.raises(BadInput, match=r"holds both train.jsonl and train.csv; name one"):
        read("empathetic-dialogues", tmp_path)


HEADER = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags"


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["a,b"], ":1: the header is not that of the official file"),
        ([HEADER, "c,1,sad,p"], ":2: 4 fields, expected 8"),
        ([HEADER, "c,2,sad,p,0,hello,,"], ":2: conversation c: utterance_idx runs 2, not from 1"),
        ([HEADER, "c,1,sad,p,0,,,"], ":2: conversation c: text: "),
    ],
    ids=["header", "fields", "order", "empty"],
)
def test_a_broken_row_of_the_official_csv_is_named(tmp_path, rows, expected):
    file = write_lines(tmp_path / "train.csv", rows)
    with pytest.raises(BadInput) as caught:
        read("empathetic-dialogues", file)
    assert f"{file}{expected}" in str(caught.value)


def test_a_seeker_speaks_first_and_strategies_are_for_the_teacher_only(tmp_path):
    write_lines(tmp_path / "train.txt", [support_talk(1)])
    item = only(read("esconv", tmp_path))
    assert roles(item.dialogue) == ["user"]
    assert item.dialogue.turns[0].content == f"{story(1)} I sleep badly1."
    assert [r.text for r in item.responses] == ["That is hard. What would help?"]
    assert item.responses[0].strategy is None
    assert item.privileged.fields == {
        "emotion": "anxiety",
        "situation": "My shop1 may close.",
        "problem": "job crisis",
        "experience": "Current Experience",
        "intensity_before": "4",
        "strategy": "Reflection of feelings; Question",
        "strategies": "Question; Reflection of feelings; Question",
        "next": "Seeker: A friend1, I think.",
    }


def test_support_talks_that_do_not_fit_are_named_or_counted(tmp_path):
    silent = {**support_talk(1), "dialog": [{"text": "Anyone there?", "speaker": "usr"}]}
    reading = read("esconv", write_lines(tmp_path / "some.txt", [silent, support_talk(2)]))
    assert reading.left_out == {"the supporter never replies": 1}
    assert reading.remarks == ["some.txt names no split; each conversation got one by id"]
    strange = {**silent, "dialog": [{"text": "x", "speaker": "robot"}]}
    with pytest.raises(BadInput, match=r"train.txt:1: dialog.0.speaker: "):
        read("esconv", write_lines(tmp_path / "train.txt", [strange]))


def test_ratings_decide_the_split_by_the_rule_of_the_paper(tmp_path):
    ratings = [(3, 1, 1, 2, 2), (1, 1, 1, 1, 1), (3, 3, 1, 1, 1), (2, 3, 1, 1, 3)]
    rows = [rated_row(number, rating) for number, rating in enumerate(ratings)]
    items = read("rated-responses", rated_csv(tmp_path / "r.csv", rows)).items
    assert [i.dialogue.split == "test" for i in items] == [True, True, False, False]
    authors = [response.author for response in items[0].responses]
    assert authors == ["human", "chatgpt", "llama", "gemini", "mixtral"]
    assert [response.rating for response in items[3].responses] == [2, 3, 1, 1, 3]
    assert items[0].privileged.fields["plutchik"] == "sadness"
    assert "somebody" not in repr(items)


def test_both_published_files_are_joined_and_the_five_decide_the_split(tmp_path):
    five = [rated_row(0, (1, 2, 3, 1, 1)), rated_row(1, (3, 3, 3, 3, 3))]
    three = [rated_row(0, (1, 3, 2), MITI_RESPONDERS), rated_row(2, (3, 1, 3), MITI_RESPONDERS)]
    rated_csv(tmp_path / "human_4llm_ratings.csv", five)
    miti = rated_csv(tmp_path / "human_gpt4_ratings_miti.csv", three)
    reading = read("rated-responses", tmp_path)
    by_id = {item.dialogue.id: item for item in reading.items}
    joined = by_id["hit:0_conv:0"]
    assert joined.dialogue.split == "test"
    assert [r.author for r in joined.responses] == [
        "human", "chatgpt-naive", "chatgpt", "llama", "gemini", "mixtral"
    ]  # fmt: skip
    assert joined.privileged.fields["miti_chatgpt-naive"] == "Affirm, Open Question"
    assert len(by_id["hit:1_conv:1"].responses) == 5
    assert len(by_id["hit:2_conv:2"].responses) == 3
    assert reading.remarks == []
    alone = read("rated-responses", miti)
    assert alone.remarks[0].startswith("the test split follows 3 responders, the paper's follows 5")


def changed(number, **fields):
    return {**rated_row(number, (3, 3, 3, 3, 3)), **fields}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([changed(1, rating_human="")], "r.csv:2: rating_human is '', expected 1, 2 or 3"),
        ([changed(1, speaker_uttr=" ")], "r.csv:2: speaker_uttr is empty"),
        ([changed(1, response_llama_empathy="")], "r.csv:2: response_llama_empathy is empty"),
        ([changed(1), changed(1)], "r.csv:8: dialog_id hit:1_conv:1 occurs twice"),
        ([changed(1, miti_human="no list(")], "r.csv:2: miti_human is no list of codes"),
        ([{"a": 1}], "r.csv:1: no column dialog_id; this is no file of rated responses"),
        ([changed(1, response_bard="hm")], "r.csv:1: no column rating_bard for response_bard"),
    ],
    ids=["rating", "utterance", "response", "twice", "codes", "header", "unrated"],
)
def test_a_rating_that_does_not_fit_is_named(tmp_path, rows, expected):
    file = rated_csv(tmp_path / "r.csv", rows)
    with pytest.raises(BadInput) as caught:
        read("rated-responses", file)
    assert expected in str(caught.value)


def test_a_row_of_another_length_and_files_that_differ_are_named(tmp_path):
    five = rated_csv(tmp_path / "human_4llm_ratings.csv", [rated_row(0, (3, 3, 3, 3, 3))])
    other = {**rated_row(0, (1, 3, 2), MITI_RESPONDERS), "speaker_uttr": "Something else."}
    rated_csv(tmp_path / "human_gpt4_ratings_miti.csv", [other])
    with pytest.raises(BadInput, match="speaker_uttr of hit:0_conv:0 differs between the files"):
        read("rated-responses", tmp_path)
    five.write_text(five.read_text() + "1,2,3\n")
    with pytest.raises(BadInput, match=r"human_4llm_ratings.csv:8: 3 fields, expected 18"):
        read("rated-responses", five)


def test_a_quote_that_never_closes_is_named_and_a_byte_order_mark_is_not_read(tmp_path):
    file = rated_csv(tmp_path / "r.csv", [changed(1)])
    file.write_text("\ufeff" + file.read_text())
    assert len(read("rated-responses", file).items) == 1
    file.write_text(file.read_text() + '0,"' + "open quote " * 20_000)
    with pytest.raises(BadInput, match=r"r.csv:8: not readable from here on \(field larger"):
        read("rated-responses", file)


def test_messages_of_any_chat_become_dialogues(tmp_path):
    rows = [
        {"messages": [
            {"role": "developer", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": story(1)}]},
            {"role": "assistant", "content": "Go on."},
            {"role": "user", "content": "That is all."},
            {"role": "assistant", "content": "Thank you."},
        ], "model": "not read"},
        {"messages": [{"role": "user", "content": story(2)}], "id": "mine", "split": "valid"},
    ]  # fmt: skip
    rows.append({"messages": [*rows[0]["messages"][:4], {"role": "assistant", "content": "Oh."}]})
    first, second = read("messages", write_lines(tmp_path / "m.jsonl", rows)).items
    assert roles(first.dialogue) == ["system", "user", "assistant", "user"]
    assert [r.text for r in first.responses] == ["Thank you.", "Oh."]
    assert (second.dialogue.id, second.dialogue.split) == ("mine", "valid")
    assert second.responses == () and second.privileged is None


def test_rows_of_one_conversation_share_a_split(tmp_path):
    rows = [
        {"conversation_id": "c", "messages": [{"role": "user", "content": story(number)}]}
        for number in range(30)
    ]
    items = read("messages", write_lines(tmp_path / "m.jsonl", rows)).items
    assert len(items) == 30
    assert len({item.dialogue.split for item in items}) == 1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"text": "hello"}, "messages: Field required"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role: "),
        ({"messages": [{"role": "user", "content": " "}]}, "messages.0.content: "),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "no message of the user"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "type"),
    ],
    ids=["no messages", "tool", "empty", "no user", "image"],
)
def test_messages_that_do_not_fit_are_named(tmp_path, row, expected):
    file = write_lines(tmp_path / "m.jsonl", [row])
    with pytest.raises(BadInput) as caught:
        read("messages", file)
    assert f"{file}:1: " in str(caught.value) and expected in str(caught.value)


def test_one_id_for_two_dialogues_and_a_folder_are_refused(tmp_path):
    rows = [{"id": "a", "messages": [{"role": "user", "content": story(n)}]} for n in (1, 2)]
    file = write_lines(tmp_path / "m.jsonl", rows)
    with pytest.raises(BadInput, match=r"m.jsonl:2: id a is that of another dialogue"):
        read("messages", file)
    with pytest.raises(BadInput, match="is a folder; name one file"):
        read("messages", tmp_path)


def test_a_conversation_alternates_and_the_user_opens_it():
    turns = [("system", "s"), ("assistant", "hi"), ("user", "a"), ("user", "b"), ("assistant", "c")]
    joined = conversation(Turn(role=role, content=content) for role, content in turns)
    assert [(t.role, t.content) for t in joined] == [
        ("system", "s"), ("user", "a b"), ("assistant", "c")
    ]  # fmt: skip
