"""A local Hugging Face folder as a teacher, one reply at a time.

In: a folder with `config.json` and a chat template. The model's name carries the digest of the
folder, so that a ledger never takes a retrained student for the old one. Refused: a folder that
is not there or cannot be loaded (MissingInput, BadInput), no torch (MissingExtra).
Shapes: T tokens.
"""

import importlib.util
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.core.chat.seam import Messages, RefusedRequest, Reply, Sampling
from distill.core.errors import BadInput, MissingExtra
from distill.core.jsonl import existing, sha256_of

DIGEST_LENGTH = 12


@dataclass(frozen=True)
class TransformersChat:
    """A model in this process; calls from several threads wait for each other."""

    folder: str
    sha256: str
    weights: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)
    provider: str = field(default="transformers", init=False)

    @property
    def model(self) -> str:
        return f"{self.folder}@{self.sha256[:DIGEST_LENGTH]}"

    @property
    def name(self) -> str:
        return f"{self.folder} in this process"

    def reply(self, messages: Messages, sampling: Sampling) -> Reply:
        with self.lock:
            return self.answer(messages, sampling)

    def answer(self, messages: Messages, sampling: Sampling) -> Reply:
        import torch

        prompt = self.tokenizer.apply_chat_template(
            list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(self.weights.device)
        asked = int(prompt["input_ids"].shape[1])
        limit = getattr(self.weights.config, "max_position_embeddings", None)
        if limit and asked + sampling.max_tokens > limit:
            raise RefusedRequest(
                f"{self.name} holds {limit} tokens, and {asked} were given and up to "
                f"{sampling.max_tokens} asked for; shorten the prompt or lower --max-tokens"
            )
        if sampling.sent_seed is not None:
            torch.manual_seed(sampling.sent_seed)
        started = time.monotonic()
        with torch.inference_mode():
            whole_T = self.weights.generate(
                **prompt, max_new_tokens=sampling.max_tokens, **drawing(sampling)
            )[0]
        seconds = max(time.monotonic() - started, 1e-9)
        new_T = whole_T[asked:].tolist()
        ended = bool(new_T) and new_T[-1] in self.stops()
        return Reply(
            text=self.tokenizer.decode(new_T, skip_special_tokens=True),
            model=self.model,
            finish_reason="stop" if ended else "length",
            tokens=len(new_T),
            first_token_s=seconds,
            tokens_per_s=len(new_T) / seconds,
            prompt_tokens=asked,
        )

    def stops(self) -> set[int | None]:
        known = self.weights.generation_config.eos_token_id
        return set(known) if isinstance(known, list) else {known}


def drawing(sampling: Sampling) -> dict[str, Any]:
    if not sampling.temperature:
        return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    return {"do_sample": True, "temperature": sampling.temperature, "top_p": 1.0, "top_k": 0}


def opened(
    model: str, base_urls: Sequence[str], timeout_s: float, stream: bool
) -> TransformersChat:
    """Load the folder in fp32 on a CPU, in its own precision on a GPU."""
    missing = [name for name in ("torch", "transformers") if not importlib.util.find_spec(name)]
    if missing:
        raise MissingExtra(
            f"teaching with {model} needs {', '.join(missing)}; install it with: "
            "pip install 'kindred-slm[train]'"
        )
    folder = Path(model)
    existing(folder / "config.json")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    on_gpu = torch.cuda.is_available()
    dtype: Any = "auto" if on_gpu else torch.float32
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        weights: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{folder} cannot be loaded: {' '.join(str(error).split())[:200]}"
        ) from error
    if not tokenizer.chat_template:
        raise BadInput(f"{folder} has no chat template; add chat_template.jinja to it")
    placed = weights.to("cuda" if on_gpu else "cpu").eval()
    return TransformersChat(model, sha256_of(folder), placed, tokenizer)
