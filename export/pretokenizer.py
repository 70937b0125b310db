"""Which of llama.cpp's ways to split text is the checkpoint's, found by behaviour.

In: a tokenizer and its pieces as metadata. Out: the keys that make llama.cpp give the same token
ids. Refused: a tokenizer that none of its ways reproduces (Unsupported).

Names and regular expressions in files are unreliable witnesses: a changed special token changes
every digest. So each way is tried, on varied texts and on the vocabulary's own longest tokens.
"""

import json
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

from distill.core.errors import CheckFailed, Unsupported
from export.probes import varied
from export.session import Session

# One name for each way that llama.cpp has; the first that behaves alike wins, so the plainest and
# the most used stand first.
PRE_TOKENIZERS = (
    "gpt-2 smollm qwen2 llama-bpe gpt-4o dbrx olmo tekken starcoder refact command-r stablelm2 "
    "smaug-bpe falcon mpt deepseek-llm deepseek-coder deepseek-v3 poro-chat chatglm-bpe viking "
    "jais jais-2 codeshell bloom gpt3-finnish exaone exaone4 exaone-moe chameleon minerva-7b "
    "megrez granite-embed-multi-97m tiny_aya superbpe trillion granite-docling bailingmoe "
    "seed-coder hunyuan hunyuan-dense hy_v4 joyai-llm kimi-k2 ufakzeka grok-2 afmoe laguna "
    "minimax-m2 solar-open mellum2 minicpm5 spark2_5 youtu qwen35 default"
)
NAME = "general.name"
PRE = "tokenizer.ggml.pre"
PREFIX = "tokenizer.ggml.add_space_prefix"
# llama.cpp strips spaces behind the control tokens of a file whose name holds one of the first
# two, and looks for Phi-3's tokens in it; no other name may set that off.
STRIPPING, ECHOES = "Phi-3", ("phi-3", "phi3", "modern-bert")
VARIED, LONGEST = 400, 3000
UNICODE_FORMS = ("NFC", "NFD", "NFKC", "NFKD")
Candidate = dict[str, Any]
Pair = tuple[list[str], list[list[int]]]


def candidates(kind: str, name: str, strips: bool) -> Iterator[Candidate]:
    """Metadata that may make llama.cpp split text as the checkpoint's tokenizer does."""
    plain = "student" if any(word in name.lower() for word in ECHOES) else name
    if kind == "gpt2":
        yield from ({NAME: plain, PRE: pre} for pre in PRE_TOKENIZERS.split())
        return
    for title in (STRIPPING, plain) if strips else (plain,):
        for prefix in (True, False):
            yield {NAME: title, PRE: "default", PREFIX: prefix}


def matching(
    tokenizer: Any, kind: str, values: Mapping[str, Any], architecture: str, folder: Path
) -> Candidate:
    """The first candidate that agrees on all texts, or else on all texts behind a control token.

    Prompts begin with control tokens. SentencePiece may put a space before the very first
    character of a text and nowhere else, which llama.cpp cannot.
    """
    from export.f16 import write_file

    strips = any(t.rstrip for t in tokenizer.added_tokens_decoder.values())
    ways = list(candidates(kind, folder.resolve().name, strips))
    texts = probes(tokenizer)
    end = values["tokenizer.ggml.eos_token_id"]
    mark = values["tokenizer.ggml.tokens"][end]
    groups = [[mark + text for text in texts], texts]
    pairs = [(group, ids_of(tokenizer, group)) for group in groups]
    usable: list[Candidate] = []
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "vocabulary.gguf"
        write_file(path, architecture, {**values, **ways[0]})
        for way in ways:
            found = agreeing(path, way, pairs)
            if found == len(pairs):
                return way
            usable += [way] if found else []
    if usable:
        return usable[0]
    raise Unsupported(
        f"{folder}: llama.cpp splits text unlike this tokenizer in every way that it knows "
        f"({len(ways)} were tried on {len(texts)} texts); the file would speak with wrong token ids"
    )


def agreeing(path: Path, way: Candidate, pairs: list[Pair]) -> int:
    """How many groups of texts have their ids in this way, before the first that has not."""
    try:
        with Session(path, overrides=way) as session:
            alike = (
                all(session.tokens(t) == ids for t, ids in zip(*pair, strict=True))
                for pair in pairs
            )
            return sum(takewhile(bool, alike))
    except CheckFailed:
        # A llama.cpp that does not know the name, or this vocabulary under it.
        return 0


def ids_of(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    found: list[list[int]] = tokenizer(texts, add_special_tokens=False).input_ids
    return found


def probes(tokenizer: Any) -> list[str]:
    """Varied texts, and the vocabulary's longest tokens side by side."""
    added = set(tokenizer.added_tokens_decoder)
    ordinary = [i for i in tokenizer.get_vocab().values() if i not in added]
    words = [tokenizer.decode([i]) for i in sorted(ordinary)]
    longest = sorted((w for w in words if "\ufffd" not in w), key=len)[-LONGEST:]
    texts = [*varied(VARIED), "".join(longest), " ".join(longest)]
    form = unicode_form(tokenizer)
    return [unicodedata.normalize(form, text) for text in texts] if form else texts


def unicode_form(tokenizer: Any) -> Any:
    """The Unicode form to which a tokenizer brings text, or None; llama.cpp brings it to none."""
    normalizer = json.loads(tokenizer.backend_tokenizer.to_str()).get("normalizer") or {}
    kinds = [step.get("type") for step in (normalizer, *normalizer.get("normalizers", ()))]
    return next((kind for kind in kinds if kind in UNICODE_FORMS), None)
