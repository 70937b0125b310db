"""A tokenizer as GGUF metadata: pieces, merges, special tokens, pre-tokenizer, template.

In: a checkpoint with a byte-level BPE or a SentencePiece-like BPE tokenizer. Out: the
`tokenizer.*` keys. Refused: other tokenizers, more tokens than the embedding has rows, and a
pre-tokenizer that llama.cpp does not reproduce (Unsupported, BadInput).

llama.cpp knows pre-tokenizers by name. Names and regular expressions in files are unreliable
witnesses, so the name is found by behaviour: the first under which llama.cpp gives the token ids
of the checkpoint's own tokenizer on a probe text made of the vocabulary itself.
"""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf

from distill.core.errors import BadInput, Unsupported
from export.checkpoint import Checkpoint
from export.session import Session

# The first that behaves alike wins, so the plainest stands first.
PRE_TOKENIZERS = ("gpt-2", "smollm", "qwen2", "llama-bpe")
PROBE = (
    "Hello there,  how's it going?\n\nI've got 3 cats, 12 dogs & 12345 fish; DON'T tell 'em!\t\t"
    "Straße, naïve café — “quoted”… 東京に行きました。Привет, как дела? 안녕하세요 مرحبا नमस्ते\r\n"
    "x=foo_bar(1.5e-3)   # 100% fine\n    indented    7   42\n\n\n"
    "😀👍🏽👩\u200d👩\u200d👧 ok!!! 'S 'LL we'LL ½ ² ٣"
)
PROBE_TOKENS = 3000
BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
LOWEST_SCORE = -1e6


def vocabulary_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Every `tokenizer.*` key of the file."""
    tokenizer = checkpoint.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str()) if backend is not None else {}
    kind = kind_of(model, checkpoint.folder)
    values = pieces(checkpoint, model["model"], kind) | special_tokens(checkpoint)
    values["tokenizer.chat_template"] = checkpoint.template
    return values | matching_behaviour(checkpoint, values, kind)


def kind_of(model: dict[str, Any], folder: Path) -> str:
    """`gpt2` for byte-level BPE, `llama` for SentencePiece-like BPE."""
    inner = model.get("model") or {}
    if inner.get("type") == "BPE" and '"ByteLevel"' in json.dumps(model.get("pre_tokenizer")):
        return "gpt2"
    if inner.get("type") == "BPE" and inner.get("byte_fallback"):
        return "llama"
    raise Unsupported(
        f"{folder} has a tokenizer of kind '{inner.get('type', 'unknown')}'; the GGUF export knows "
        "byte-level BPE and SentencePiece-like BPE with byte fallback"
    )


def pieces(checkpoint: Checkpoint, model: dict[str, Any], kind: str) -> dict[str, Any]:
    """Texts, types and merges (or scores) of the vocabulary, one for each embedding row."""
    rows = checkpoint.config.vocab_size
    known = checkpoint.tokenizer.get_vocab()
    if max(known.values()) >= rows:
        raise BadInput(
            f"{checkpoint.folder}: the tokenizer has {max(known.values()) + 1} tokens and the "
            f"embedding {rows} rows; resize the embedding or restore the base's tokenizer"
        )
    texts = [f"[PAD{number}]" for number in range(rows)]
    types = [gguf.TokenType.UNUSED] * rows
    for text, number in known.items():
        texts[number] = text
        types[number] = type_of(text, model)
    for number, added in checkpoint.tokenizer.added_tokens_decoder.items():
        texts[number] = added.content
        types[number] = gguf.TokenType.CONTROL if added.special else gguf.TokenType.USER_DEFINED
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    values = {
        "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": texts,
        "tokenizer.ggml.token_type": [int(t) for t in types],
    }
    if kind == "gpt2":
        return values | {"tokenizer.ggml.merges": merges}
    return values | {"tokenizer.ggml.scores": scores(texts, model["merges"])}


def type_of(text: str, model: dict[str, Any]) -> gguf.TokenType:
    if model.get("byte_fallback") and BYTE_PIECE.fullmatch(text):
        return gguf.TokenType.BYTE
    if text == model.get("unk_token"):
        return gguf.TokenType.UNKNOWN
    return gguf.TokenType.NORMAL


def scores(texts: list[str], merges: list[Any]) -> list[float]:
    """SentencePiece joins the pair with the best score first: the rank of the merge, negated."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        pair = merge.split(" ", 1) if isinstance(merge, str) else merge
        ranks.setdefault("".join(pair), rank)
    return [-float(ranks[text]) if text in ranks else LOWEST_SCORE for text in texts]


def special_tokens(checkpoint: Checkpoint) -> dict[str, Any]:
    """Ids of begin, end and padding, and whether the tokenizer adds begin and end by itself."""
    tokenizer, ends = checkpoint.tokenizer, checkpoint.end_tokens()
    if not ends:
        raise BadInput(
            f"{checkpoint.folder} names no eos token; a reply would never end: set eos_token_id "
            "in generation_config.json"
        )
    plain, framed = (tokenizer("a", add_special_tokens=add).input_ids for add in (False, True))
    begin = tokenizer.bos_token_id
    values = {
        "tokenizer.ggml.eos_token_id": ends[0],
        "tokenizer.ggml.add_bos_token": framed[: len(framed) - len(plain)] == [begin],
        "tokenizer.ggml.add_eos_token": len(framed) > len(plain) and framed[-1] == ends[0],
    }
    named = dict(zip(("eot", "eom"), ends[1:], strict=False))
    named |= {"bos": begin, "padding": tokenizer.pad_token_id, "unknown": tokenizer.unk_token_id}
    return values | {f"tokenizer.ggml.{k}_token_id": v for k, v in named.items() if v is not None}


def candidates(kind: str) -> Iterator[dict[str, Any]]:
    """The metadata that may make llama.cpp split text as the checkpoint's tokenizer does."""
    if kind == "gpt2":
        yield from ({"tokenizer.ggml.pre": name} for name in PRE_TOKENIZERS)
    else:
        for prefix in (True, False):
            yield {"tokenizer.ggml.pre": "default", "tokenizer.ggml.add_space_prefix": prefix}


def matching_behaviour(checkpoint: Checkpoint, values: dict[str, Any], kind: str) -> dict[str, Any]:
    """The first candidate under which llama.cpp and the checkpoint agree on the probe."""
    from export.f16 import write_file

    texts = probes(checkpoint)
    expected = [checkpoint.tokenizer(t, add_special_tokens=False).input_ids for t in texts]
    with tempfile.TemporaryDirectory() as folder:
        for candidate in candidates(kind):
            path = Path(folder) / "vocabulary.gguf"
            write_file(path, checkpoint.architecture.NAME, values | candidate)
            with Session(path) as session:
                if all(session.tokens(t) == ids for t, ids in zip(texts, expected, strict=True)):
                    return candidate
    tried = ", ".join(str(next(reversed(c.values()))) for c in candidates(kind))
    raise Unsupported(
        f"{checkpoint.folder}: llama.cpp splits text unlike this tokenizer under every "
        f"pre-tokenizer that is tried ({tried}); the file would speak with wrong token ids"
    )


def probes(checkpoint: Checkpoint) -> list[str]:
    """The fixed text, and the vocabulary's longest tokens side by side."""
    tokenizer = checkpoint.tokenizer
    special = set(tokenizer.added_tokens_decoder)
    ordinary = [i for text, i in tokenizer.get_vocab().items() if i not in special]
    words = [tokenizer.decode([i]) for i in sorted(ordinary)]
    longest = sorted((w for w in words if "\ufffd" not in w), key=len)[-PROBE_TOKENS:]
    return [PROBE, "".join(longest), " ".join(longest)]
