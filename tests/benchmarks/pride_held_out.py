"""Cross-entropy on the test split of the students of an ablation, seed by seed.

In: a gathered folder with improved replies, and the folder of `distill train pride --ablate`.
Out: a line a run: nats a token, its difference from CE alone and from all of it without fields,
each with its 95 % interval over seeds. The validation split chose the recipe; this one did not.

    python -m tests.benchmarks.pride_held_out runs/data runs/ablation
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.ablate import CE, RIVALS, WHOLE
from distill.ablate_table import interval
from distill.core.jsonl import read_jsonl
from distill.core.records import Dialogue, Response
from distill.learning.masks import IGNORED, last_reply
from distill.learning.pride_leakage import token_log_probs
from distill.learning.pride_rows import padded
from distill.learning.response_rows import response_rows
from distill.learning.teacher import head_of
from distill.learning.training_sets import Messages

AT_ONCE = 32


def tested(data: Path) -> list[Messages]:
    """Dialogues of the test split with their improved reply."""
    dialogues = {d.id: d for d in read_jsonl(data / "dialogues.jsonl", Dialogue)}
    return [
        [*dialogues[r.dialogue_id].messages(), {"role": "assistant", "content": r.text}]
        for r in read_jsonl(data / "responses.jsonl", Response)
        if r.strategy == "improved" and dialogues[r.dialogue_id].split == "test"
    ]


@torch.inference_mode()
def cross_entropy(folder: Path, rows: Sequence[Messages]) -> float:
    """Mean over all reply tokens."""
    student: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    student.eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = [last_reply(tokenizer, messages) for messages in rows]
    total = tokens = 0.0
    for start in range(0, len(examples), AT_ONCE):
        part = examples[start : start + AT_ONCE]
        ids_BT, seen_BT = padded([each["input_ids"] for each in part])
        labels_BT, _ = padded([each["labels"] for each in part], IGNORED)
        out = student.base_model(input_ids=ids_BT, attention_mask=seen_BT.long())
        states_ND, tokens_N = response_rows(out.last_hidden_state, labels_BT)
        total -= float(token_log_probs(head_of(student), states_ND, tokens_N).sum())
        tokens += len(tokens_N)
    return total / tokens


def apart(mine: dict[str, float], other: dict[str, float]) -> str:
    """Mean difference over the seeds that both have, with half its interval."""
    found = [mine[seed] - other[seed] for seed in sorted(mine.keys() & other.keys())]
    known = interval(found)
    return f"{sum(found) / len(found):+.4f}" + (f" ± {known[1]:.4f}" if known else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("ablation", type=Path)
    parser.add_argument("--runs", nargs="*", default=[*RIVALS, WHOLE])
    asked = parser.parse_args()
    rows = tested(asked.data)
    found: dict[str, dict[str, float]] = {}
    for name in asked.runs:
        for folder in sorted((asked.ablation / "students").glob(f"{name}-?")):
            found.setdefault(name, {})[folder.name[-1]] = cross_entropy(folder, rows)
    plain = RIVALS[1]
    for name, by_seed in found.items():
        mean = sum(by_seed.values()) / len(by_seed)
        against = "  ".join(f"{apart(by_seed, found[r])} from {r}" for r in (CE, plain))
        print(f"{name:16} {mean:.4f} over {len(by_seed)} seeds of {len(rows)} replies  {against}")


if __name__ == "__main__":
    main()
