"""Small training sets and recipes for tests of `distill train`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

TELLS = ["I lost my job today", "my sister passed her exam", "my dog ran away", "I am so proud"]
REPLIES = ["That sounds hard.", "I'm glad that you told me.", "What happened next?"]
OFFLINE = {**os.environ, "HF_HUB_OFFLINE": "1"}


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def dialogue(number: int) -> list[dict[str, str]]:
    """One or two exchanges, of different lengths."""
    told = user(f"{TELLS[number % 4]}, {'and ' * (number % 5)}I do not know what to do.")
    if number % 3:
        return [told]
    return [told, assistant(REPLIES[2]), user("I want to talk about it")]


def write_lines(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_sets(folder: Path, *, count: int = 24, held_out: int = 8) -> Path:
    """The four files that a two-step recipe reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for end, rows in (("", range(count)), ("_valid", range(100, 100 + held_out))):
        taught = [[*dialogue(n), assistant(REPLIES[n % 3])] for n in rows]
        write_lines(folder / f"sft{end}.jsonl", [{"messages": messages} for messages in taught])
        pairs = [
            {
                "prompt": dialogue(n),
                "chosen": [assistant(REPLIES[n % 2])],
                "rejected": [assistant("Your dog ran away last night.")],
            }
            for n in rows
        ]
        write_lines(folder / f"preferences{end}.jsonl", pairs)
    return folder


def recipe(**changes: object) -> dict:
    """A two-step recipe that takes seconds; keyword arguments replace its keys."""
    step = {"batch_size": 4, "learning_rate": 1e-3}
    return {
        "method": "two-step",
        "student": "starter",
        "max_length": 96,
        "sft": step,
        "dpo": {**step, "learning_rate": 1e-4},
        "evaluate_every": 2,
        "save_every": 2,
        **changes,
    }


def write_recipe(path: Path, **changes: object) -> Path:
    path.write_text(yaml.safe_dump(recipe(**changes)))
    return path


def command_line(*words: object) -> list[str]:
    return [sys.executable, "-m", "distill", "train", *(str(word) for word in words)]


def distill_train_by_two(*words: object) -> subprocess.CompletedProcess[str]:
    """The real command in two processes on the CPU, under `accelerate launch`."""
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--cpu"]
    pair = ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no"]
    quiet = ["--dynamo_backend", "no", "--main_process_port", "0", "-m", "distill", "train"]
    return subprocess.run(
        [*launcher, *pair, *quiet, *(str(word) for word in words)],
        capture_output=True,
        text=True,
        env={**OFFLINE, "OMP_NUM_THREADS": "1"},
    )


def distill_train(*words: object, **options: object) -> subprocess.CompletedProcess[str]:
    """The real command in a process of its own."""
    return subprocess.run(
        command_line(*words), capture_output=True, text=True, **{"env": OFFLINE, **options}
    )
