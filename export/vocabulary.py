"""A tokenizer as GGUF metadata: pieces, merges, special tokens, pre-tokenizer, template.

In: a checkpoint with a byte-level BPE or a SentencePiece-like BPE tokenizer. Out: the
`tokenizer.*` keys. Refused: other tokenizers, more tokens than the embedding has rows, and a
pre-tokenizer that llama.cpp does not reproduce (Unsupported, BadInput).
"""

import json
import re
from pathlib import Path
from typing import Any

import gguf

from distill.core.errors import BadInput, Unsupported
from export.checkpoint import Checkpoint
from export.pretokenizer import matching

BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
LOWEST_SCORE = -1e6
SPACE = "▁"


def vocabulary_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """Every `tokenizer.*` key of the file, and its name, which llama.cpp's tokenizer heeds."""
    tokenizer = checkpoint.tokenizer
    backend = getattr(tokenizer, "backend_tokenizer", None)
    model = json.loads(backend.to_str()) if backend is not None else {}
    kind = kind_of(model, checkpoint.folder)
    values = pieces(checkpoint, model["model"], kind) | special_tokens(checkpoint)
    values["tokenizer.chat_template"] = checkpoint.template
    architecture, folder = checkpoint.architecture.NAME, checkpoint.folder
    return values | matching(tokenizer, kind, values, architecture, folder)


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
        # llama.cpp looks for these in the text itself, in which spaces are still spaces.
        spaced = kind == "llama" and not added.special
        texts[number] = added.content.replace(SPACE, " ") if spaced else added.content
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
