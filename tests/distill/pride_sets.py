"""Small sets with privileged fields, recipes, and tiny models for tests of PRIDE."""

import json
from pathlib import Path

import torch
import yaml

from distill.learning.tokenizer import train_tokenizer
from tests.models import SENTENCES
from tests.training import write_lines, write_sets

FIELDS = {"situation": "I lost my job", "emotion": "sad", "need": "to be heard"}


def read_lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def write_known(folder: Path, *, count: int = 12, held_out: int = 4) -> tuple[Path, Path]:
    """Composed sets, and the gathered folder that knows more of their dialogues."""
    sets, data = write_sets(folder / "sets", count=count, held_out=held_out), folder / "data"
    data.mkdir()
    lines = [line for n in ("sft", "sft_valid") for line in read_lines(sets / f"{n}.jsonl")]
    asked = {json.dumps(json.loads(line)["messages"][:-1]): None for line in lines}
    write_lines(
        data / "dialogues.jsonl",
        [
            {"id": f"d{n}", "source": "tests", "turns": json.loads(turns), "split": "train"}
            for n, turns in enumerate(asked)
        ],
    )
    fields = [{"dialogue_id": f"d{n}", "fields": FIELDS} for n in range(len(asked))]
    write_lines(data / "privileged.jsonl", fields)
    return sets, data


def pride_recipe(**changes: object) -> dict:
    """A recipe of seconds with every part; keyword arguments replace its keys."""
    step = {"batch_size": 4, "learning_rate": 1e-3}
    return {
        "method": "pride",
        "student": "starter",
        "max_length": 96,
        "teacher": {"model": "self", "prompt": "notes", "tuning": step},
        "distill": step,
        "sources": {"told": 0.9, "heads": 2, "plain_from": 0.6},
        "leakage": {"sample": 4},
        "evaluate_every": 2,
        "save_every": 1,
        **changes,
    }


def write_pride_recipe(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(pride_recipe(**changes)))
    return path


def tiny_llama(vocabulary: int = 512, width: int = 32, seed: int = 0):
    """A Llama of 50,000 random weights."""
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=96,
    )
    return AutoModelForCausalLM.from_config(config)


def tiny_tokenizer():
    return train_tokenizer(SENTENCES, 512)
