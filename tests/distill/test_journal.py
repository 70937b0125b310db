"""Records that are written down as they are made."""

import pytest

from distill.core.errors import BadInput
from distill.core.journal import Journal
from distill.core.records import Turn

ONE, TWO = Turn(role="user", content="one"), Turn(role="user", content="two")


def test_records_are_there_when_it_is_opened_again(tmp_path):
    with Journal(tmp_path / "new" / "j.jsonl", Turn) as journal:
        journal.append(ONE)
        journal.append(TWO)
    with Journal(tmp_path / "new" / "j.jsonl", Turn) as journal:
        assert journal.records == [ONE, TWO]


@pytest.mark.parametrize("kept", [1, 10, 30])
def test_a_last_line_that_was_cut_off_is_dropped(tmp_path, kept):
    path = tmp_path / "j.jsonl"
    with Journal(path, Turn) as journal:
        journal.append(ONE)
        whole = path.read_bytes()
        journal.append(TWO)
    path.write_bytes(path.read_bytes()[: len(whole) + kept])
    with Journal(path, Turn) as journal:
        assert journal.records == [ONE]
        journal.append(TWO)
    with Journal(path, Turn) as journal:
        assert journal.records == [ONE, TWO]


def test_a_broken_line_in_the_middle_is_refused(tmp_path):
    path = tmp_path / "j.jsonl"
    path.write_text('{"role": "user"}\n' + ONE.model_dump_json() + "\n")
    with pytest.raises(BadInput, match=r"j\.jsonl:1"):
        Journal(path, Turn)
