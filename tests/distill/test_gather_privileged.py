"""The corpora whose worth is what only a teacher may read: ESD-CoT and CICERO."""

import json

import pytest

from distill.core.errors import BadInput
from tests.distill.command_line import outcome
from tests.distill.raw_corpora import story, write_lines
from tests.distill.test_gather_corpora import only, read, roles


def written(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))
    return path


def chain(number):
    said = ["Hello, what brings you?", story(number)]
    return {
        "id": number,
        "original_data": {
            "dialog": [
                {"speaker": who, "content": text}
                for who, text in zip(("supporter", "seeker"), said, strict=True)
            ],
            "strategy": "Open Question",
            "response": f"What would you like to tell them{number}?",
        },
        "cot_data": {
            "emotion": "The seeker feels left out.",
            "emotion_stimuli": "Nobody called.",
            "individual_appraisal": "They think that they do not matter.",
            "recognized_strategy": "Open Question",
            "strategy_reason": "To learn more.",
        },
    }


def pipeline(number):
    return {
        "instruction": "not read",
        "input": f"supporter: Hello!\nseeker: {story(number)}\nsecond line{number}",
        "output": "Emotion:\nTired.\nStrategy Reason:\nTo calm.\nResponse:\nRest first.",
    }


def test_a_chain_gives_emotion_stimulus_appraisal_and_the_reason_of_the_strategy(tmp_path):
    item = only(read("escot", written(tmp_path / "esd_cot_val.json", [chain(1)]).parent))
    assert (roles(item.dialogue), item.dialogue.split) == (["user"], "valid")
    assert [response.text for response in item.responses] == ["What would you like to tell them1?"]
    assert item.privileged.fields == {
        "emotion": "The seeker feels left out.",
        "stimulus": "Nobody called.",
        "appraisal": "They think that they do not matter.",
        "strategy": "Open Question",
        "strategy_reason": "To learn more.",
    }


def test_a_pipeline_row_is_read_from_its_texts_and_the_whole_chain_wins(tmp_path):
    item = only(read("escot", written(tmp_path / "em_sr_re_train.json", [pipeline(1)]).parent))
    assert item.dialogue.turns[-1].content == f"{story(1)} second line1"
    assert item.responses[0].text == "Rest first."
    assert item.privileged.fields == {"emotion": "Tired.", "strategy_reason": "To calm."}
    same = {**pipeline(2), "input": f"seeker: {story(2)}"}
    written(tmp_path / "both/em_sr_re_train.json", [same])
    written(tmp_path / "both/esd_cot_train.json", [chain(2)])
    assert len(only(read("escot", tmp_path / "both")).privileged.fields) == 5


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"input": "hello", "output": pipeline(1)["output"]}, 'input: .*does not begin with "seek'),
        ({**pipeline(1), "output": "Rest first."}, "output: .*is not Emotion, Strategy Reason"),
        ({**chain(1), "cot_data": {}}, "cot_data.emotion: Field required"),
        ([], "Input should be"),
    ],
    ids=["speaker", "output", "chain", "list"],
)
def test_a_row_of_escot_that_does_not_fit_is_named(tmp_path, row, expected):
    file = written(tmp_path / "esd_cot_val.json", [chain(1), row])
    with pytest.raises(BadInput, match=rf"esd_cot_val.json: entry 2: .*{expected}"):
        read("escot", file)


def test_a_file_of_escot_that_is_no_list_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is no JSON list"):
        read("escot", written(tmp_path / "mine.json", {}))


def asked(question, target, correct=(0,), **other):
    return {
        "ID": "talk-1",
        "Dialogue": ["A: Hello , Ann .", f"B: {story(1)}", "A: ", "A: Oh no !", "B: Thank you ."],
        "Target": target,
        "Question": question,
        "Choices": ["They write a letter .", "They go out."],
        "Correct Answers": list(correct),
        **other,
    }


EVENT = "What subsequent event happens or could happen following the target?"
CAUSE = "What is or could be the cause of target?"


def test_the_one_who_was_asked_about_is_the_user_and_answers_are_joined(tmp_path):
    rows = [asked(EVENT, story(1), (1, 0)), asked(CAUSE, story(1), (1,)), asked(EVENT, "Oh no !")]
    items = read("cicero", write_lines(tmp_path / "val.json", rows)).items
    about_b, about_a = items
    assert about_b.privileged.fields == {
        "next": "They write a letter. They go out.",
        "cause": "They go out.",
    }
    assert (roles(about_b.dialogue), about_b.dialogue.split) == (["user"], "valid")
    assert [response.text for response in about_b.responses] == ["Oh no!"]
    assert [turn.content for turn in about_a.dialogue.turns] == ["Hello, Ann.", story(1), "Oh no!"]
    assert [response.text for response in about_a.responses] == ["Thank you."]


def test_an_utterance_without_a_reply_has_no_response(tmp_path):
    item = only(read("cicero", write_lines(tmp_path / "x.json", [asked(EVENT, "Thank you .")])))
    assert item.responses == ()
    assert item.dialogue.turns[-1].content == "Thank you."


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (asked("Why?", story(1)), "Question: .*is none that we know"),
        (asked(EVENT, story(1), (2,)), "Correct Answers names 2, which is no choice"),
        (asked(EVENT, story(1), Dialogue=[f"A: {story(1)}"]), "the dialogue talk-1 differs"),
        (asked(EVENT, story(1), Dialogue=["nobody"]), "Dialogue.0: "),
    ],
    ids=["question", "choice", "dialogue", "speaker"],
)
def test_a_row_of_cicero_that_does_not_fit_is_named(tmp_path, row, expected):
    file = write_lines(tmp_path / "val.json", [asked(EVENT, story(1)), row])
    with pytest.raises(BadInput, match=rf"val.json:2: .*{expected}"):
        read("cicero", file)


def test_an_utterance_that_is_not_in_its_dialogue_is_counted(tmp_path):
    reading = read("cicero", write_lines(tmp_path / "val.json", [asked(EVENT, "Never said.")]))
    assert reading.left_out == {"the utterance is not in the dialogue": 1}


def test_gather_knows_both(tmp_path):
    written(tmp_path / "escot/esd_cot_val.json", [chain(number) for number in range(3)])
    write_lines(tmp_path / "cicero/val.json", [asked(EVENT, story(1), ID="other")])
    sources = [f"escot={tmp_path}/escot", f"cicero={tmp_path}/cicero"]
    found = outcome("gather", *sources, "--out", tmp_path / "data")
    assert found["counts"]["escot"]["valid"] + found["counts"]["cicero"]["valid"] == 4
