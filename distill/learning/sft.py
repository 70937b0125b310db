"""Supervised fine-tuning through TRL's SFTTrainer, with the loss on replies only.

In: a model to train, a tokenizer, dialogues. Out: a `StageResult`. Our masks reach the trainer as
labels; see `masks` for why they are exact.
"""

from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from distill.learning.masks import Example
from distill.learning.stage import (
    OwnOrder,
    Setting,
    StageResult,
    arguments,
    finish_stage,
    whole_batches,
)
from distill.recipe import TwoStep

NAME = "sft"


class OwnSFTTrainer(OwnOrder, SFTTrainer):
    """TRL's trainer in our order."""

    def lengths(self) -> list[int]:
        rows: Any = self.train_dataset
        return [len(ids) for ids in rows["input_ids"]]


def run_sft(
    student: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    examples_valid: Sequence[Example],
    setting: Setting[TwoStep],
) -> StageResult:
    """Fine-tune on examples that are tokens and labels already."""
    step = setting.recipe.sft
    valid = whole_batches(list(examples_valid), step)
    trainer = OwnSFTTrainer(
        model=student,
        args=SFTConfig(
            **arguments(NAME, step, setting, len(valid)),
            packing=step.packing,
            eval_packing=False,
        ),
        train_dataset=Dataset.from_list(list(examples)),
        eval_dataset=Dataset.from_list(valid) if valid else None,
        processing_class=tokenizer,
    )
    trainer.by_length = step.group_by_length and not step.packing
    return finish_stage(NAME, trainer, setting.work)
