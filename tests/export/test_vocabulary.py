"""Tokenizers: whatever the kind, llama.cpp gives the ids that the checkpoint's own gives."""

import dataclasses
import json

import gguf
import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, trainers
from tokenizers import pre_tokenizers as pre
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from distill.core.errors import BadInput, Unsupported
from distill.learning.tokenizer import CHAT_TEMPLATE, SPECIAL
from export.checkpoint import open_checkpoint
from export.conversations import bundled
from export.f16 import write_f16, write_file
from export.parity import Texts, gate
from export.pretokenizer import candidates
from export.probes import varied
from export.session import Session
from export.vocabulary import vocabulary_of
from tests.export.students import VOCABULARY, lively_student
from tests.models import SENTENCES

TEXTS = [
    *SENTENCES,
    *["DON'T tell 'em: 12345 and 2024\n\n\n  x  y\t\tDON'T, I'LL go 2024!!!\n    and    3"] * 40,
]
QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3 = QWEN2.replace(r"|\p{N}| ?", r"|\p{N}{1,3}| ?")
BYTES = pre.ByteLevel(add_prefix_space=False, use_regex=False)


def split(pattern):
    return pre.Sequence([pre.Split(Regex(pattern), "isolated"), BYTES])


PRE_TOKENIZERS = {
    "gpt-2": pre.ByteLevel(add_prefix_space=False),
    "smollm": pre.Sequence(
        [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]
    ),
    "qwen2": split(QWEN2),
    "llama-bpe": split(LLAMA3),
}


def dressed(tokenizer, **names):
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        **names,
    )


def byte_level(pre_tokenizer):
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizer, decoders.ByteLevel()
    bpe.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=SPECIAL,
            initial_alphabet=pre.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return bpe


LEGACY = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
SPACES = {
    "llama-2": {"normalizer": LEGACY},
    "mistral": {"pre_tokenizer": pre.Metaspace("▁", "first", split=False)},
    "gemma": {
        "normalizer": normalizers.Replace(" ", "▁"),
        "pre_tokenizer": pre.Split(" ", "merged_with_previous"),
    },
}


def sentencepiece_like(spaces="llama-2", added=()):
    """BPE over characters with a visible space and byte fallback."""
    learner = Tokenizer(models.BPE(unk_token="<unk>"))
    learner.normalizer, learner.pre_tokenizer = LEGACY, pre.Split("▁", "merged_with_next")
    specials = ["<unk>", *SPECIAL[1:4], SPECIAL[4], SPECIAL[0]]
    specials += [f"<0x{byte:02X}>" for byte in range(256)]
    learner.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=480, special_tokens=specials, show_progress=False)
    )
    learned = models.BPE(**pieces_of(learner), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    whole = Tokenizer(learned)
    for part, value in SPACES[spaces].items():
        setattr(whole, part, value)
    whole.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    whole.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in SPECIAL])
    whole.add_tokens([AddedToken(t, normalized="▁" in t, special=False) for t in added])
    return whole


def pieces_of(learner):
    model = json.loads(learner.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(m) for m in model["merges"]]}


def checkpoint_with(tokenizer, folder, **changes):
    return open_checkpoint(lively_student(folder, tokenizer=tokenizer, **changes))


def text_failures_of(checkpoint, path):
    write_f16(checkpoint, path)
    return gate(checkpoint, {"F16": (path, 16)}, Texts(bundled(), bundled()[:1], "test"))["failed"]


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_the_pre_tokenizer_is_found_by_behaviour(name, tmp_path):
    tokenizer = dressed(byte_level(PRE_TOKENIZERS[name]))
    checkpoint = checkpoint_with(tokenizer, tmp_path / "student")
    assert vocabulary_of(checkpoint)["tokenizer.ggml.pre"] == name
    assert text_failures_of(checkpoint, tmp_path / "file.gguf") == []


def test_text_is_compared_in_the_unicode_form_of_the_tokenizer(tmp_path):
    bpe = byte_level(PRE_TOKENIZERS["qwen2"])
    bpe.normalizer = normalizers.NFC()
    checkpoint = checkpoint_with(dressed(bpe), tmp_path / "student", kind="qwen3")
    write_f16(checkpoint, tmp_path / "file.gguf")
    apart = [[{"role": "user", "content": "cafe\u0301 na\u0308chste"}]]
    parity = gate(checkpoint, {"F16": (tmp_path / "file.gguf", 16)}, Texts(apart, apart, "test"))
    assert parity["passed"] and parity["unicode_form"] == "NFC"


def test_a_pre_tokenizer_that_llama_cpp_does_not_have_is_refused(tmp_path):
    tokenizer = dressed(byte_level(split(r"\p{L}{1,3}|\s|[^\s\p{L}]")))
    with pytest.raises(Unsupported, match="splits text unlike this tokenizer in every way"):
        vocabulary_of(checkpoint_with(tokenizer, tmp_path / "student"))


@pytest.mark.parametrize(
    ("spaces", "prefix", "added"),
    [("llama-2", True, ()), ("mistral", False, ()), ("gemma", False, ("▁▁▁", "<b>", "\n\n"))],
)
def test_a_sentencepiece_like_vocabulary_keeps_its_token_ids(spaces, prefix, added, tmp_path):
    tokenizer = dressed(sentencepiece_like(spaces, added), unk_token="<unk>")
    checkpoint = checkpoint_with(tokenizer, tmp_path / "student", eos_token_id=None)
    values = vocabulary_of(checkpoint)
    assert values["tokenizer.ggml.model"] == "llama"
    assert values["tokenizer.ggml.add_space_prefix"] is prefix
    assert text_failures_of(checkpoint, tmp_path / "file.gguf") == []


@pytest.mark.parametrize("name", [*PRE_TOKENIZERS, *SPACES])
def test_two_thousand_varied_strings_have_the_same_token_ids(name, tmp_path):
    if name in PRE_TOKENIZERS:
        tokenizer = dressed(byte_level(PRE_TOKENIZERS[name]))
    else:
        tokenizer = dressed(sentencepiece_like(name), unk_token="<unk>")
    checkpoint = checkpoint_with(tokenizer, tmp_path / "student")
    values = vocabulary_of(checkpoint)
    write_file(tmp_path / "file.gguf", "llama", values)
    texts = varied(2000, seed=7)
    if name == "mistral":
        texts = ["<|end|>" + text for text in texts]
    expected = checkpoint.tokenizer(texts, add_special_tokens=False).input_ids
    with Session(tmp_path / "file.gguf") as session:
        assert [session.tokens(text) for text in texts] == expected


def phi3_like():
    """Control tokens swallow the spaces behind them, and the template puts a line break there."""
    built = sentencepiece_like()
    # Of the published tokenizer's, `</s>` swallows them too, and these two do not.
    for text in (*SPECIAL, "</s>", "<s>", "<|endoftext|>"):
        swallows = text not in ("<s>", "<|endoftext|>")
        token = AddedToken(text, normalized=False, special=True, rstrip=swallows)
        built.add_special_tokens([token])
    tokenizer = dressed(built, unk_token="<unk>")
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|' + m.role + '|>\n' + m.content + '<|end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
    )
    return tokenizer


def test_phi3_with_a_tokenizer_of_its_kind_passes_the_gate(tmp_path):
    sizes = {"kind": "phi3", "eos_token_id": None}
    checkpoint = checkpoint_with(phi3_like(), tmp_path / "student", **sizes)
    assert text_failures_of(checkpoint, tmp_path / "file.gguf") == []


def test_control_tokens_that_swallow_spaces_do_so_in_the_file(tmp_path):
    checkpoint = checkpoint_with(phi3_like(), tmp_path / "student")
    values = vocabulary_of(checkpoint)
    assert values["general.name"] == "Phi-3"
    write_file(tmp_path / "file.gguf", "llama", values)
    with Session(tmp_path / "file.gguf") as session:
        text = "<|user|>\n  hello<|end|> \n<|assistant|>\n"
        expected = checkpoint.tokenizer(text, add_special_tokens=False).input_ids
        assert session.tokens(text) == expected


def test_a_name_that_llama_cpp_would_heed_is_not_written(tmp_path):
    checkpoint = checkpoint_with(None, tmp_path / "my-phi3-killer")
    assert vocabulary_of(checkpoint)["general.name"] == "student"


def test_every_way_that_llama_cpp_knows_is_tried_without_harm(tmp_path):
    names = {way["tokenizer.ggml.pre"]: way for way in candidates("gpt2", "student", strips=False)}
    values = vocabulary_of(checkpoint_with(None, tmp_path / "student"))
    write_file(tmp_path / "file.gguf", "llama", values)
    assert len(names) > 50
    for name, way in names.items():
        with Session(tmp_path / "file.gguf", overrides=way) as session:
            assert session.tokens("hello"), name


def test_a_tokenizer_of_another_kind_is_refused(tmp_path):
    words = Tokenizer(models.WordLevel({"<|end|>": 0, "<|pad|>": 1, "hello": 2}, unk_token="hello"))
    words.pre_tokenizer = pre.Whitespace()
    with pytest.raises(Unsupported, match="tokenizer of kind 'WordLevel'"):
        vocabulary_of(checkpoint_with(dressed(words), tmp_path / "student"))


def test_more_tokens_than_embedding_rows_are_refused(tmp_path):
    tokenizer = dressed(byte_level(PRE_TOKENIZERS["gpt-2"]))
    checkpoint = checkpoint_with(tokenizer, tmp_path / "student", vocab_size=300)
    with pytest.raises(BadInput, match=r"\d+ tokens and the embedding 300 rows"):
        vocabulary_of(checkpoint)


def test_spare_embedding_rows_are_named_and_unused(tmp_path):
    tokenizer = dressed(byte_level(PRE_TOKENIZERS["gpt-2"]))
    values = vocabulary_of(checkpoint_with(tokenizer, tmp_path / "student", vocab_size=544))
    assert values["tokenizer.ggml.tokens"][-1] == "[PAD543]"
    assert values["tokenizer.ggml.token_type"][-1] == gguf.TokenType.UNUSED


def test_a_begin_token_that_the_tokenizer_adds_is_added_once(tmp_path):
    bpe = byte_level(PRE_TOKENIZERS["gpt-2"])
    bpe.post_processor = TemplateProcessing(
        single="<|system|> $A", special_tokens=[("<|system|>", 1)]
    )
    checkpoint = checkpoint_with(dressed(bpe, bos_token="<|system|>"), tmp_path / "student")
    values = vocabulary_of(checkpoint)
    assert values["tokenizer.ggml.add_bos_token"] is True
    assert values["tokenizer.ggml.bos_token_id"] == 1
    write_file(tmp_path / "file.gguf", "llama", values)
    with Session(tmp_path / "file.gguf") as session:
        assert session.tokens("hi", add_special=True) == checkpoint.tokenizer("hi").input_ids
        assert session.tokens("hi") == checkpoint.tokenizer("hi").input_ids[1:]


def test_every_end_token_of_the_generation_config_ends_a_reply(tmp_path):
    folder = lively_student(tmp_path / "student")
    (folder / "generation_config.json").write_text('{"eos_token_id": [7, 4]}')
    values = vocabulary_of(open_checkpoint(folder))
    assert values["tokenizer.ggml.eos_token_id"] == 7
    assert values["tokenizer.ggml.eot_token_id"] == 4
    write_file(tmp_path / "file.gguf", "llama", values)
    with Session(tmp_path / "file.gguf") as session:
        assert session.ends(7) and session.ends(4) and not session.ends(8)


def test_a_student_that_never_ends_is_refused(lively):
    class Endless:
        eos_token_id = None

        def __getattr__(self, name):
            return getattr(lively.tokenizer, name)

    class Config:
        eos_token_id = None

        def __getattr__(self, name):
            return getattr(lively.config, name)

    folder = lively.folder.parent
    endless = dataclasses.replace(
        lively, tokenizer=Endless(), config=Config(), folder=folder / "nothing"
    )
    with pytest.raises(BadInput, match="names no eos token"):
        vocabulary_of(endless)
