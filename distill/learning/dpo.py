"""Direct preference optimization through TRL's DPOTrainer; the reference is the SFT student.

In: the SFT student, a tokenizer, pairs. Out: a `StageResult`. The reference's log-probabilities
are computed once, before the first step, from the student as SFT left it: with all weights
trained from the model itself, with an adapter from a frozen copy of the adapter. Source: Rafailov
et al. 2023, arXiv 2305.18290.
"""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset, load_from_disk
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from distill.learning.job import is_main
from distill.learning.stage import (
    OwnOrder,
    Setting,
    StageResult,
    arguments,
    finish_stage,
    whole_batches,
)
from distill.learning.training_sets import Pair
from distill.recipe import Dpo, TwoStep

NAME = "dpo"


class OwnDPOTrainer(OwnOrder, DPOTrainer):
    """TRL's trainer in our order."""

    def lengths(self) -> list[int]:
        rows: Any = self.train_dataset
        sides = zip(rows["chosen_ids"], rows["rejected_ids"], strict=True)
        longest = [max(len(chosen), len(rejected)) for chosen, rejected in sides]
        return [
            len(prompt) + more for prompt, more in zip(rows["prompt_ids"], longest, strict=True)
        ]

    def compute_ref_log_probs(self, model: Any, inputs: Any) -> Any:
        self.use_own_head()
        trainer: Any = super()
        return trainer.compute_ref_log_probs(model, inputs)


def run_dpo(
    student: Any,
    tokenizer: Any,
    pairs: Sequence[Pair],
    pairs_valid: Sequence[Pair],
    setting: Setting[TwoStep],
) -> StageResult:
    """Move the student towards chosen replies and away from rejected ones."""
    step = setting.recipe.dpo
    assert step is not None
    valid = whole_batches(list(pairs_valid), step)
    options = arguments(NAME, step, setting, len(valid))
    trainer = OwnDPOTrainer(
        model=student,
        args=DPOConfig(**options, beta=step.beta, **losses_of(step), precompute_ref_log_probs=True),
        train_dataset=on_disk(pairs, setting.work / NAME / "pairs"),
        eval_dataset=on_disk(valid, setting.work / NAME / "pairs_valid") if valid else None,
        processing_class=tokenizer,
    )
    trainer.by_length = step.group_by_length
    return finish_stage(NAME, trainer, setting.work)


def losses_of(step: Dpo) -> dict[str, Any]:
    if not step.sft_weight:
        return {"loss_type": [step.loss]}
    return {"loss_type": [step.loss, "sft"], "loss_weights": [1.0, step.sft_weight]}


def on_disk(pairs: Sequence[Pair], folder: Path) -> Dataset:
    """A table that all processes see, since one of them writes the reference's figures for all."""
    if is_main() and not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        Dataset.from_list([asdict(pair) for pair in pairs]).save_to_disk(unfinished)
        unfinished.rename(folder)
    PartialState().wait_for_everyone()
    return load_from_disk(str(folder))
