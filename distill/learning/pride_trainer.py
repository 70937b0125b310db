"""The training of PRIDE on transformers' Trainer: what is told when, every term in the log.

In: a `PrideStudent`, a teacher or none, rows. Out: trained weights; a resumed run ends where the
uninterrupted one would have. Refused: nothing; rows and recipe are checked before.

Chance is a function of the seed, the step and the row, never of a process or of what ran before:
so privileged dropout and the student's own words are the same on any number of processes and
after a resume. Distribution (DDP, FSDP, DeepSpeed) is accelerate's.
"""

import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Trainer

from distill.core.jsonl import read_json, write_json
from distill.learning.multi_source import MultiSource
from distill.learning.pride_leakage import (
    Gauge,
    sample_of,
    student_gauge,
    token_gauge,
    token_weights,
)
from distill.learning.pride_rows import Row, labels_of, padded, padded_features
from distill.learning.pride_sampling import own_replies
from distill.learning.pride_student import PrideStudent, Taking, Terms, Told
from distill.learning.projection import Head
from distill.learning.stage import OwnOrder
from distill.learning.teacher import Teacher
from distill.recipe import Pride

TRAINED, GAUGE = "trained.safetensors", "gauge.json"
LOGGED = ("cross_entropy", "divergence", "teacher_cross_entropy", "mmd", "gate")


class Batch(dict[str, Any]):
    """Rows with the labels that a step's tokens are counted by."""


def collate(rows: Sequence[Row]) -> Batch:
    return Batch(rows=list(rows), labels=labels_of(rows))


class PrideTrainer(OwnOrder, Trainer):
    """The step of PRIDE; order of the data and the last checkpoint are as in every stage."""

    pride: PrideStudent
    teacher: Teacher | None
    recipe: Pride
    _total_train_tokens = 0

    def set_up(self, teacher: Teacher | None, recipe: Pride, stops: Sequence[int]) -> None:
        """What Trainer's own arguments have no place for."""
        self.pride = self.model  # type: ignore[assignment]
        self.teacher, self.recipe, self.stops = teacher, recipe, stops
        self.model_accepts_loss_kwargs = True
        self.by_length = recipe.distill.group_by_length
        self.sums: dict[str, Tensor] = {}
        self.own_words = False
        self.head = None if teacher is None else on_device(teacher.head, self.args.device)

    def lengths(self) -> list[int]:
        rows: Any = self.train_dataset
        return [len(row.ids) for row in rows]

    def use_own_head(self) -> None:
        """The fused losses have their own."""

    def told_share(self) -> float:
        """The probability that a sample is told what is privileged, annealed to zero."""
        wanted = self.recipe.sources
        if wanted is None or not wanted.plain_from:
            return 0.0
        done = self.state.global_step / max(1, self.state.max_steps)
        return wanted.told * max(0.0, 1 - done / wanted.plain_from)

    def told(self, row: Row, share: float) -> bool:
        drawn = random.Random(f"{self.args.seed}/told/{self.state.global_step}/{row.index}")
        return row.has_sources and drawn.random() < share

    def taking(self, rows: Sequence[Row], share: float = 0.0) -> Taking:
        """The student's tensors of rows, on its device."""
        device = self.args.device
        ids_BT, seen_BT = padded([row.ids for row in rows])
        source_ids_BS, source_seen_BS = padded([row.source_ids for row in rows])
        told_B = torch.tensor([self.told(row, share) for row in rows])
        tensors = [ids_BT, seen_BT, labels_of(rows), told_B, source_ids_BS, source_seen_BS]
        fusion: MultiSource | None = self.pride.fusion
        if fusion is not None and fusion.feature_width is not None:
            tensors += padded_features(rows, fusion.feature_width)
        return Taking(*(tensor.to(device) for tensor in tensors))

    def compute_loss(
        self,
        model: Any,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        rows: list[Row] = inputs["rows"]
        share = self.told_share()
        taking = self.taking(rows, share)
        told, gauge_N = self.asked(rows)
        # Once nobody is told any more the attention is idle; DDP still wants its gradients.
        plain = share == 0 and self.accelerator.num_processes == 1
        options = {"own_words": self.own_words, "plain": plain}
        terms: Terms = model(taking, told, num_items_in_batch, **options)
        self.note(terms, taking, told, gauge_N)
        # Gradients are averaged over processes, and `count` is of all of them.
        loss = terms.loss * self.accelerator.num_processes
        return (loss, terms) if return_outputs else loss

    def asked(self, rows: Sequence[Row]) -> tuple[Told | None, Tensor | None]:
        """What the teacher says, and the gauge where it is wanted on every step."""
        if self.teacher is None or self.head is None:
            return None, None
        device = self.args.device
        informed = [row.informed for row in rows if row.informed is not None]
        hidden_NE = self.teacher.hidden(informed)
        gauge_N = weights_N = None
        if self.recipe.leakage.each:
            gauge_N = token_gauge(self.teacher, rows, hidden_NE).to(device)
        if gauge_N is not None and self.recipe.leakage.strength:
            weights_N = token_weights(gauge_N, self.recipe.leakage.strength)
        return Told(hidden_NE.to(device), self.head, weights_N), gauge_N

    def note(self, terms: Terms, taking: Taking, told: Told | None, gauge_N: Tensor | None) -> None:
        """Add to the sums of the step; the log divides them."""
        tokens = terms.tokens
        sums = {name: getattr(terms, name) for name in LOGGED} | {"tokens": tokens}
        rows = tokens.new_tensor(float(len(taking.told_B)))
        sums |= {"told": taking.told_B.sum().to(tokens), "rows": rows}
        if gauge_N is not None:
            sums["leakage"] = gauge_N.sum()
        if told is not None and told.weights_N is not None:
            sums["weight"] = told.weights_N.sum()
        for name, value in sums.items():
            self.sums[name] = self.sums.get(name, tokens.new_zeros(())) + value.detach().float()
        self._total_train_tokens += int(taking.seen_BT.sum()) * self.accelerator.num_processes

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.sums:
            names = list(self.sums)
            sums = torch.stack([self.sums[name] for name in names])
            summed = dict(zip(names, self.accelerator.reduce(sums).tolist(), strict=True))
            tokens, rows = summed.pop("tokens"), summed.pop("rows")
            logs["told"] = summed.pop("told") / rows
            logs.update({name: value / tokens for name, value in summed.items()})
            if self.teacher is None:
                for name in ("divergence", "teacher_cross_entropy", "mmd"):
                    del logs[name]
            self.sums = {}
        super().log(logs, start_time)

    @torch.no_grad()
    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Cross-entropy of the plain student, the mean over all held-out tokens."""
        self.pride.eval()
        rows: Any = self.eval_dataset
        size, world = self.args.per_device_eval_batch_size, self.args.world_size
        mine = rows[self.args.process_index :: world]
        # Every process calls the wrapped model equally often, with rows of its own or without.
        total = torch.zeros(2, device=self.args.device)
        for start in range(0, math.ceil(len(rows) / world), size):
            part = mine[start : start + size]
            with self.compute_loss_context_manager():
                terms = self.model_wrapped(self.taking(part or rows[:1]), None, 1, plain=True)
            if part:
                total += torch.stack([terms.cross_entropy, terms.tokens])
        loss, tokens = self.accelerator.reduce(total).tolist()
        metrics = {"eval_loss": loss / tokens}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def gauge(self) -> Gauge | None:
        """The leakage gauge of the sample, None when the teacher knows no more than the student."""
        rows: Any = self.train_dataset
        sample = sample_of(rows, self.recipe.leakage.sample, self.args.seed)
        if self.teacher is None or not sample:
            return None
        self.pride.eval()
        with self.compute_loss_context_manager():
            return student_gauge(self.teacher, self.pride, sample, self.taking(sample))

    def train(self, *words: Any, **options: Any) -> Any:
        """Train, after the gauge of the untrained student was read, once for all resumes."""
        path = Path(str(self.args.output_dir)) / GAUGE
        if self.is_world_process_zero() and not path.exists():
            write_json(path, dict(self.named_gauge("start")))
        return super().train(*words, **options)

    def closing_figures(self) -> dict[str, float]:
        """Terms over the last tenth of the steps, what was told over all, both gauges."""
        logged = [entry for entry in self.state.log_history if "loss" in entry]
        last = logged[-max(1, len(logged) // 10) :]
        names = [n for n in (*LOGGED, "leakage", "weight") if n in last[-1] and n != "gate"]
        figures = {name: sum(entry[name] for entry in last) / len(last) for name in names}
        told = [entry for entry in logged if entry["told"] > 0]
        if told:
            figures["told"] = sum(entry["told"] for entry in logged) / len(logged)
            figures["gate"] = sum(entry["gate"] for entry in told) / len(told)
        if not self.is_world_process_zero():
            return figures
        start = read_json(Path(str(self.args.output_dir)) / GAUGE)
        return {**figures, **start, **dict(self.named_gauge("end"))}

    def named_gauge(self, when: str) -> Iterator[tuple[str, float]]:
        found = self.gauge()
        if found is not None:
            yield f"leakage_reference_{when}", found.reference
            yield f"leakage_student_{when}", found.student

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: Any) -> Any:
        """The batches of a step, with the student's own replies where it is its turn."""
        batches, count = super().get_batch_samples(epoch_iterator, num_batches, device)
        policy = self.recipe.on_policy
        seed = f"{self.args.seed}/own/{self.state.global_step}"
        self.own_words = policy is not None and random.Random(seed).random() < policy.share
        if not self.own_words or policy is None:
            return batches, count
        self.pride.eval()
        if self.pride.fusion is not None:
            self.pride.fusion.tell(None)
        answered = [
            collate(own_replies(self.pride.student, batch["rows"], policy, self.stops, seed))
            for batch in batches
        ]
        return answered, self._get_num_items_in_batch(answered, device)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """A checkpoint: what trains, without a frozen base."""
        wanted = {name for name, p in self.pride.named_parameters() if p.requires_grad}
        state = state_dict or dict(self.pride.named_parameters())
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file(
            {n: p.detach().contiguous() for n, p in state.items() if n in wanted}, folder / TRAINED
        )

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        found = load_file(Path(resume_from_checkpoint) / TRAINED)
        own = dict(self.pride.named_parameters())
        with torch.no_grad():
            for name, tensor in found.items():
                own[name].copy_(tensor)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """At the end the student alone, as `save_pretrained` writes it: weights, or an adapter."""
        if _internal_call:
            super().save_model(output_dir, _internal_call)
            return
        state = self.accelerator.get_state_dict(self.model)
        if self.args.should_save and state is not None:
            head = "student."
            kept = {n.removeprefix(head): t for n, t in state.items() if n.startswith(head)}
            self.pride.student.save_pretrained(output_dir, state_dict=kept)


def on_device(head: Head, device: torch.device) -> Head:
    """The teacher's head beside the student; the same when it is there already."""
    bias_V = None if head.bias_V is None else head.bias_V.to(device)
    return Head(head.weight_VD.to(device), bias_V, head.scale, head.softcap)
