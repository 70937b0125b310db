"""A Hugging Face folder, or a PEFT adapter on its base, generated from with torch in batches.

In: a folder with `config.json`, or with `adapter_config.json` that names its base. Its digest is
that of the folder, and of the base under an adapter. Refused: a tokenizer without chat template.
Shapes: B dialogues, T tokens.
"""

import importlib.util
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.core.chat import Reply, Sampling
from distill.core.errors import BadInput, MissingExtra
from distill.core.jsonl import digest_text, read_json, sha256_of
from distill.core.records import Dialogue
from eval.candidates import Candidate, CandidateOptions

AT_ONCE = 16
TOP_P = 0.95


@dataclass
class Clock:
    """A stopping criterion that stops nothing: it notes when the first token was there."""

    started: float = field(default_factory=time.monotonic)
    first: float | None = None

    def __call__(self, ids_BT: Any, scores: Any, **_: Any) -> Any:
        import torch

        self.first = self.first or time.monotonic()
        return torch.zeros(ids_BT.shape[0], dtype=torch.bool, device=ids_BT.device)


@dataclass(frozen=True)
class CheckpointCandidate:
    """Generates in batches, padded on the left."""

    name: str
    sha256: str
    student: Any
    tokenizer: Any
    at_once: int

    def replies(
        self, dialogues: Sequence[Dialogue], sampling: Sampling
    ) -> Iterator[tuple[Dialogue, Reply]]:
        for start in range(0, len(dialogues), self.at_once):
            batch = dialogues[start : start + self.at_once]
            yield from zip(batch, self.generate(batch, sampling), strict=True)

    def generate(self, batch: Sequence[Dialogue], sampling: Sampling) -> list[Reply]:
        import torch

        prompts = [
            self.tokenizer.apply_chat_template(
                dialogue.messages(), tokenize=False, add_generation_prompt=True
            )
            for dialogue in batch
        ]
        inputs = self.tokenizer(
            prompts, return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.student.device)
        self.refuse_long(batch, inputs["attention_mask"].sum(1).tolist())
        torch.manual_seed(sampling.seed or 0)
        clock = Clock()
        with torch.inference_mode():
            out_BT = self.student.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                stopping_criteria=[clock],
                **drawn(sampling),
                max_new_tokens=sampling.max_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )
        ended = time.monotonic()
        prompt_tokens = inputs["attention_mask"].sum(1).tolist()
        replies_BT = out_BT[:, inputs["input_ids"].shape[1] :].tolist()
        return [
            self.reply(ids, count, clock, ended)
            for ids, count in zip(replies_BT, prompt_tokens, strict=True)
        ]

    def refuse_long(self, batch: Sequence[Dialogue], lengths: list[int]) -> None:
        room = getattr(self.student.config, "max_position_embeddings", None)
        for dialogue, length in zip(batch, lengths, strict=True):
            if room is not None and length >= room:
                raise BadInput(
                    f"dialogue {dialogue.id!r} takes {length} tokens and {self.name} holds {room}, "
                    "reply included; leave it out"
                )

    def reply(self, ids: list[int], prompt_tokens: int, clock: Clock, ended: float) -> Reply:
        """One row of a batch, cut at its first end token; times are those of the batch."""
        stops = stop_tokens(self.student)
        end = next((place for place, token in enumerate(ids) if token in stops), None)
        kept = ids if end is None else ids[:end]
        tokens = len(kept)
        first = clock.first or ended
        return Reply(
            text=self.tokenizer.decode(kept, skip_special_tokens=True).strip(),
            model=self.name,
            finish_reason="length" if end is None else "stop",
            tokens=tokens,
            first_token_s=first - clock.started,
            tokens_per_s=tokens / (ended - clock.started),
            prompt_tokens=prompt_tokens,
        )


def drawn(sampling: Sampling) -> dict[str, Any]:
    if not sampling.temperature:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": TOP_P, "top_k": 0}


def stop_tokens(student: Any) -> set[int]:
    known = student.generation_config.eos_token_id
    return set(known) if isinstance(known, list) else {known}


@contextmanager
def opened(name: str, options: CandidateOptions) -> Iterator[Candidate]:
    folder = Path(name)
    adapter = (folder / "adapter_config.json").exists()
    needed = ("torch", "transformers", *(("peft",) if adapter else ()))
    missing = [module for module in needed if importlib.util.find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"answering with the checkpoint {name} needs {', '.join(missing)}; install it with: "
            "pip install 'kindred-slm[train]'"
        )
    base = base_of(folder) if adapter else name
    digest = sha256_of(folder)
    if adapter:
        base_digest = sha256_of(Path(base)) if Path(base).exists() else base
        digest = digest_text(f"{digest} on {base_digest}")
    student, tokenizer = load(folder, base, adapter)
    yield CheckpointCandidate(name, digest, student, tokenizer, options.at_once or AT_ONCE)


def base_of(adapter: Path) -> str:
    config = adapter / "adapter_config.json"
    base = read_json(config).get("base_model_name_or_path")
    if not base:
        raise BadInput(f"{config} names no base_model_name_or_path; write the base's folder there")
    return str(base)


def load(folder: Path, base: str, adapter: bool) -> tuple[Any, Any]:
    """The model in fp32 on a CPU, in its own precision on a GPU, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    on_gpu = torch.cuda.is_available()
    holder = folder if (folder / "tokenizer_config.json").exists() else base
    with refusing(folder):
        tokenizer = AutoTokenizer.from_pretrained(holder)
    if not tokenizer.chat_template:
        raise BadInput(f"{holder} has no chat template; add chat_template.jinja to it")
    with refusing(folder):
        student: Any = AutoModelForCausalLM.from_pretrained(
            base, dtype="auto" if on_gpu else torch.float32
        )
    if adapter:
        from peft import PeftModel

        student = PeftModel.from_pretrained(student, folder)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return student.to("cuda" if on_gpu else "cpu").eval(), tokenizer


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """What transformers says of a folder that it cannot load, as one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise BadInput(f"{folder} cannot be loaded: {reason}") from error
