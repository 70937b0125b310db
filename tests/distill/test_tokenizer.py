"""The starter's tokenizer: lossless, and its template is what the loss and the runtimes read."""

from distill.learning.tokenizer import SPECIAL, train_tokenizer
from tests.models import SENTENCES


def test_every_text_comes_back_byte_for_byte():
    tokenizer = train_tokenizer(SENTENCES, 512)
    for text in ["I'm so sad :(", "naïve café 🐶", "  two  spaces\n", "don't"]:
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_the_template_marks_the_reply_and_its_end_for_the_loss():
    tokenizer = train_tokenizer(SENTENCES, 512)
    messages = [
        {"role": "user", "content": "I lost it"},
        {"role": "assistant", "content": "Oh no."},
    ]
    out = tokenizer.apply_chat_template(
        messages, return_assistant_tokens_mask=True, return_dict=True
    )
    marked = [t for t, m in zip(out["input_ids"], out["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(marked) == "Oh no.<|end|>"


def test_chat_tokens_are_single_tokens():
    tokenizer = train_tokenizer(SENTENCES, 512)
    assert [len(tokenizer.encode(t, add_special_tokens=False)) for t in SPECIAL] == [1] * 5
