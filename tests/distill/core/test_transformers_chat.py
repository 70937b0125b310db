"""A local folder as a teacher."""

import shutil

import pytest

from distill.core.chat import RefusedRequest, Sampling
from distill.core.chat.table import open_chat
from distill.core.errors import BadInput, MissingInput

ASKED = [{"role": "user", "content": "my day was long"}]


@pytest.fixture(scope="module")
def chat(tiny_folder):
    return open_chat(f"transformers:{tiny_folder}")


def test_a_folder_answers_greedily_and_the_same_each_time(chat):
    first, second = (chat.reply(ASKED, Sampling(max_tokens=8)) for _ in range(2))
    assert first.text == second.text and 0 < first.tokens <= 8 and first.prompt_tokens > 0
    assert first.finish_reason in ("stop", "length")


def test_a_drawn_reply_follows_its_seed(chat):
    draws = [Sampling(8, 1.0, 3), Sampling(8, 1.0, 3), Sampling(8, 1.0, 3, sample=1)]
    one, same, other = (chat.reply(ASKED, sampling).text for sampling in draws)
    assert one == same != other


def test_the_name_in_the_ledger_changes_with_the_weights(chat, tiny_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    assert open_chat(f"transformers:{copy}").sha256 == chat.sha256
    (copy / "note.txt").write_text("trained again")
    assert open_chat(f"transformers:{copy}").sha256 != chat.sha256
    assert chat.model == f"{tiny_folder}@{chat.sha256[:12]}" and chat.provider == "transformers"


def test_more_tokens_than_the_model_holds_are_refused(chat):
    with pytest.raises(RefusedRequest, match="shorten the prompt or lower --max-tokens"):
        chat.reply(ASKED, Sampling(max_tokens=10**6))


def test_a_folder_that_is_not_there_or_broken_is_refused(tmp_path):
    with pytest.raises(MissingInput, match=r"config\.json"):
        open_chat(f"transformers:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(BadInput, match="cannot be loaded"):
        open_chat(f"transformers:{tmp_path}")


def test_a_folder_without_a_chat_template_is_refused(tiny_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(BadInput, match="no chat template"):
        open_chat(f"transformers:{copy}")
