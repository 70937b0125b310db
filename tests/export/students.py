"""Checkpoints in which every part of the arithmetic shows in the logits.

A fresh model mostly repeats its input, so that a permuted or missing matrix would pass unseen;
here the matrices are large, and so are the embeddings where the head is its own.
"""

from pathlib import Path
from typing import Any

from distill.core.jsonl import write_jsonl
from distill.learning.tokenizer import train_tokenizer
from export.calibration import starter
from tests.models import SENTENCES

VOCABULARY = 512
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    "tie_word_embeddings": False,
    "initializer_range": 0.06,
    "bos_token_id": None,
    "eos_token_id": 4,
    "pad_token_id": 0,
}


def lively_student(
    folder: Path, kind: str = "llama", *, tokenizer: Any = None, **changes: Any
) -> Path:
    """Write a random checkpoint of this kind with a tokenizer; `changes` go to its config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **SIZES | changes)
    student = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for name, weight in student.named_parameters():
            if weight.ndim == 1:
                weight.uniform_(0.5, 1.5)
            if "embed" in name and not config.tie_word_embeddings:
                weight.mul_(8)
    student.save_pretrained(folder)
    (tokenizer or train_tokenizer(SENTENCES, vocab_size=VOCABULARY)).save_pretrained(folder)
    return folder


def few_dialogues(path: Path, *, first: int = 0, count: int = 8) -> Path:
    """A file of some starter dialogues: as much text as a test needs."""
    write_jsonl(path, ({"messages": m} for m in starter()[first : first + count]))
    return path


def linked_copy(whole: Path, folder: Path) -> Path:
    """A folder whose files are links to the same bytes: a file is replaced, never written to."""
    folder.mkdir()
    for path in whole.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder
