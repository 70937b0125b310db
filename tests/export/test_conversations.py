"""The text of the gate."""

import json
import unicodedata

import pytest

from distill.core.errors import BadInput
from export.conversations import bundled, normalized, read, spread


def test_the_bundled_conversations_hold_what_trips_exports():
    conversations = bundled()
    texts = [m["content"] for messages in conversations for m in messages]
    roles = {m["role"] for messages in conversations for m in messages}
    together = "".join(texts)
    assert 20 <= len(conversations) <= 40
    assert roles == {"system", "user", "assistant"}
    assert any(len(messages) >= 5 for messages in conversations)
    assert any(len(text) == 1 for text in texts)
    assert "<|end|>" in together and "</s>" in together and "👩" in together
    assert unicodedata.is_normalized("NFC", together)
    assert all(messages[-1]["role"] == "user" for messages in conversations)


def test_dialogues_and_messages_are_both_read(tmp_path):
    path = tmp_path / "both.jsonl"
    turn = {"role": "user", "content": "hello"}
    dialogue = {"id": "a", "source": "s", "split": "test", "turns": [turn]}
    lines = [dialogue, {"messages": [turn], "score": 3}]
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read(path) == [[turn], [turn]]


def test_broken_lines_are_named_together(tmp_path):
    path = tmp_path / "broken.jsonl"
    path.write_text('{"messages": 3}\nnot json\n')
    with pytest.raises(BadInput) as refused:
        read(path)
    assert "2 broken lines" in str(refused.value)
    assert "broken.jsonl:1" in str(refused.value) and "broken.jsonl:2" in str(refused.value)


def test_a_file_without_a_conversation_is_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(BadInput, match="holds no conversation"):
        read(tmp_path / "empty.jsonl")


@pytest.mark.parametrize(("count", "most", "kept"), [(10, 3, [0, 3, 6]), (2, 3, [0, 1])])
def test_a_sample_is_spread_over_the_file(count, most, kept):
    conversations = [[{"role": "user", "content": str(i)}] for i in range(count)]
    assert [int(c[0]["content"]) for c in spread(conversations, most)] == kept


def test_messages_take_the_unicode_form_of_the_tokenizer():
    apart = [{"role": "user", "content": "cafe\u0301"}]
    assert normalized(apart, "NFC")[0]["content"] == "café"
    assert normalized(apart, None) is apart
