"""What SFT and DPO share: arguments, order of the data, checkpoints, progress, the end.

In: a trainer. Out: `StageResult` in `WORK/NAME.json` and its weights in `WORK/NAME/final`. A stage
that was killed continues from its last whole checkpoint and ends where it would have ended.

A step learns from the same dialogues on any number of processes: the order is ours, is cut into
whole steps, and the processes share each step.
"""

import math
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from accelerate import PartialState
from peft import PeftModel
from torch.utils.data import Sampler
from transformers import PrinterCallback, TrainerCallback

from distill.core.errors import BadInput
from distill.core.jsonl import read_json, write_json
from distill.core.progress import bar, remarks, say
from distill.learning.job import is_main
from distill.learning.reply_head import use_reply_head
from distill.learning.student import Device
from distill.recipe import Step, Training

WHOLE = "whole"
GROUP_STEPS = 50


R = TypeVar("R", bound=Training, covariant=True)


@dataclass(frozen=True)
class Setting(Generic[R]):
    """What every stage is told."""

    recipe: R
    device: Device
    precision: str
    work: Path


@dataclass(frozen=True)
class StageResult:
    """Final figures of a stage, and its log for the curves."""

    figures: dict[str, float]
    history: list[dict[str, float]]


class WholeSteps(Sampler[int]):
    """Indices of an epoch, shuffled by seed and epoch, filled up to whole steps.

    With `by_length` each step holds examples of like length, so that little is padded.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        step_size: int,
        seed: int,
        by_length: bool,
        epoch: Callable[[int], int],
    ) -> None:
        self.lengths, self.step_size = lengths, step_size
        self.seed, self.by_length, self.epoch = seed, by_length, epoch

    def __len__(self) -> int:
        return math.ceil(len(self.lengths) / self.step_size) * self.step_size

    def __iter__(self) -> Iterator[int]:
        rng = random.Random(f"{self.seed}/{self.epoch(len(self) // self.step_size)}")
        order = rng.sample(range(len(self.lengths)), len(self.lengths))
        while len(order) < len(self):
            order += order[: len(self) - len(order)]
        if self.by_length:
            order = self.grouped(order, rng)
        return iter(order)

    def grouped(self, order: list[int], rng: random.Random) -> list[int]:
        """Sort within stretches of many steps, then shuffle the steps."""
        stretch = self.step_size * GROUP_STEPS
        steps = []
        for start in range(0, len(order), stretch):
            near = sorted(order[start : start + stretch], key=lambda i: self.lengths[i])
            steps += [near[at : at + self.step_size] for at in range(0, len(near), self.step_size)]
        rng.shuffle(steps)
        return [index for step in steps for index in step]


class OwnOrder:
    """A trainer's mixin: our order of the data, no model card of the trainer's."""

    by_length = False

    def lengths(self) -> list[int]:
        raise NotImplementedError

    def _get_train_sampler(self, train_dataset: Any = None) -> WholeSteps:
        trainer: Any = self
        args = trainer.args
        size = args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        return WholeSteps(
            self.lengths(),
            size,
            args.seed,
            self.by_length,
            # Not `set_epoch`: it does not reach a sampler behind the batches skipped on a resume.
            lambda steps: trainer.state.global_step // steps,
        )

    def use_own_head(self) -> None:
        """On a CPU, score reply tokens only."""
        trainer: Any = self
        if trainer.args.device.type == "cpu":
            use_reply_head(inner_model(trainer.model))

    def closing_figures(self) -> dict[str, float]:
        """More figures of the stage, asked for when it has ended."""
        return {}

    def create_model_card(self, *args: Any, **kwargs: Any) -> None:
        return None


def inner_model(student: Any) -> Any:
    """The causal model inside an adapter, or the model itself."""
    return student.get_base_model() if isinstance(student, PeftModel) else student


def shared_batch(step: Step, processes: int) -> tuple[int, int]:
    """Dialogues a device takes at once, and accumulation, so that a step stays what it is."""
    if step.accumulation % processes == 0:
        return step.batch_size, step.accumulation // processes
    if step.batch_size % processes == 0:
        return step.batch_size // processes, step.accumulation
    raise BadInput(
        f"{processes} processes cannot share a step of {step.batch_size} x {step.accumulation} "
        "dialogues; make batch_size or accumulation in the recipe a multiple of them"
    )


def arguments(name: str, step: Step, setting: Setting[Training], validated: int) -> dict[str, Any]:
    """Options that TRL's configurations share; `validated` is the size of the validation set."""
    recipe = setting.recipe
    on_cpu = setting.device == "cpu"
    # Before the first question: it decides between gloo and nccl.
    state = PartialState(cpu=on_cpu)
    batch_size, accumulation = shared_batch(step, state.num_processes)
    return {
        "output_dir": str(setting.work / name),
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": max(1, min(step.batch_size, validated)),
        "gradient_accumulation_steps": accumulation,
        "num_train_epochs": step.epochs,
        "learning_rate": step.learning_rate,
        "lr_scheduler_type": step.scheduler,
        "warmup_steps": step.warmup_fraction,
        "weight_decay": step.weight_decay,
        "max_length": recipe.max_length,
        "bf16": setting.precision == "bf16",
        "fp16": setting.precision == "fp16",
        "use_cpu": on_cpu,
        "ddp_backend": "gloo" if on_cpu and state.num_processes > 1 else None,
        "activation_checkpointing": recipe.gradient_checkpointing,
        "eval_strategy": "steps" if validated else "no",
        "eval_steps": recipe.evaluate_every,
        "save_strategy": "steps",
        "save_steps": recipe.save_every,
        "save_total_limit": 2,
        "logging_steps": 1,
        "prediction_loss_only": True,
        "dataloader_pin_memory": not on_cpu,
        "seed": recipe.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def whole_batches(rows: list[Any], step: Step) -> list[Any]:
    """Validation rows in whole batches, so that any number of processes scores the same."""
    size = min(step.batch_size, len(rows))
    return rows[: len(rows) // size * size] if size else rows


class Progress(TrainerCallback):
    """A bar on a terminal, a line at each validation elsewhere; marks whole checkpoints."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar = bar()
        self.task: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if is_main():
            self.bar.start()
            self.task = self.bar.add_task(
                self.name, total=state.max_steps, completed=state.global_step
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.task is not None:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        logs: Mapping[str, float] = kwargs["logs"]
        if self.task is None:
            return
        if "loss" in logs:
            self.bar.update(self.task, description=f"{self.name} loss {logs['loss']:.3f}")
        if "eval_loss" in logs and not remarks().is_terminal:
            say(
                f"{self.name} step {state.global_step} of {state.max_steps}: "
                f"validation loss {logs['eval_loss']:.4f}"
            )

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if is_main():
            (Path(args.output_dir) / f"checkpoint-{state.global_step}" / WHOLE).touch()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.bar.stop()


def last_whole_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; a kill may have cut off a newer one."""
    whole = [f.parent for f in folder.glob(f"checkpoint-*/{WHOLE}")]
    newest = max(whole, key=lambda f: int(f.name.rpartition("-")[2]), default=None)
    return str(newest) if newest else None


def finished_stage(work: Path, name: str) -> StageResult | None:
    path = work / f"{name}.json"
    return StageResult(**read_json(path)) if path.exists() else None


def finish_stage(name: str, trainer: Any, work: Path) -> StageResult:
    """Train from the last whole checkpoint to the end, validate, and save weights and figures."""
    folder = work / name
    trainer.use_own_head()
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Progress(name))
    done = trainer.train(resume_from_checkpoint=last_whole_checkpoint(folder))
    if trainer.eval_dataset is not None and "eval_loss" not in trainer.state.log_history[-2]:
        trainer.evaluate()
    trainer.save_model(str(folder / "final"))
    figures = {**figures_of(trainer.state), **trainer.closing_figures()}
    result = StageResult(figures, trainer.state.log_history)
    if is_main():
        write_json(work / f"{name}.json", asdict(result))
        seconds = done.metrics["train_runtime"]
        say(
            f"{name}: {trainer.state.global_step} steps, loss {result.figures['loss']:.4f}, "
            f"{trainer._total_train_tokens / seconds:,.0f} tokens/s, "
            f"peak memory {peak_memory_bytes(trainer.args.device.type) / 1e9:.2f} GB"
        )
    trainer.accelerator.wait_for_everyone()
    return result


SCORED = {
    "eval_loss": "validation_loss",
    "eval_rewards/accuracies": "validation_accuracy",
    "eval_rewards/margins": "validation_margin",
}


def figures_of(state: Any) -> dict[str, float]:
    """Loss of the last step, its mean over the stage, and what the last validation said."""
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    scored: Mapping[str, float] = next(
        (e for e in reversed(state.log_history) if "eval_loss" in e), {}
    )
    return {
        "steps": state.global_step,
        "loss": losses[-1],
        "mean_loss": sum(losses) / len(losses),
        **{name: scored[key] for key, name in SCORED.items() if key in scored},
    }


def drop_checkpoints(work: Path, stages: Iterable[str]) -> None:
    """Optimizer states are many times the student; once it stands, its logs are enough."""
    for name in stages:
        shutil.rmtree(work / name, ignore_errors=True)


def peak_memory_bytes(device: str) -> int:
    """The most that this process held, on the GPU when it has one."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    import resource
    import sys

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
