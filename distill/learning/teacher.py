"""A teacher that is asked for hidden states: what the losses of PRIDE need of it, and no more.

In: replies as the teacher reads them, each behind its own prompt. Out: the last hidden states that
predict the reply's tokens, and the head that turns them into logits. Refused: a prompt that is
longer than the teacher's context, since cutting it would cut the privileged fields (BadInput); a
tokenizer other than the student's (BadInput); a head that we cannot reproduce, 4 bits where there
is no CUDA GPU with bitsandbytes (Unsupported).

Shapes: B sequences, T tokens, N reply tokens, E the teacher's width, V vocabulary.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from distill.core.errors import BadInput, Unsupported
from distill.core.jsonl import digest_text
from distill.learning.losses import PADDING_AT_MOST
from distill.learning.origin import fetched_folder
from distill.learning.projection import Head

TOKENS_AT_ONCE = 8192
# Factors that models put on their logits: multiplied, and divided by.
SCALES = ("logit_scale", "lm_head_multiplier")
DIVISORS = ("logits_scaling",)


@dataclass(frozen=True)
class Taught:
    """One reply as the teacher reads it; `key` is the digest of its prompt's and reply's ids."""

    key: str
    prompt_ids: tuple[int, ...]
    reply_ids: tuple[int, ...]
    dialogue_id: str = field(default="", compare=False)

    @property
    def ids(self) -> tuple[int, ...]:
        return self.prompt_ids + self.reply_ids


def taught(prompt_ids: Sequence[int], reply_ids: Sequence[int], dialogue_id: str = "") -> Taught:
    """A reply behind a teacher's prompt, with its key."""
    key = digest_text(json.dumps([list(prompt_ids), list(reply_ids)]))
    return Taught(key, tuple(prompt_ids), tuple(reply_ids), dialogue_id)


class Teacher(Protocol):
    """Live or stored; `name` is how the provenance calls it."""

    name: str
    head: Head
    device: torch.device

    def hidden(self, taught: Sequence[Taught]) -> Tensor:
        """States [N, E] after the final norm that predict the replies' tokens, in order."""
        ...

    def refuse_unread(self, taught: Taught) -> None:
        """BadInput when it cannot be asked for this reply; nothing is computed."""
        ...


def head_of(model: Any) -> Head:
    """How a causal model turns its last hidden states into logits, from its configuration.

    Soft cap: Gemma 2, arXiv 2408.00118. `refuse_unknown_head` checks it against the model itself.
    """
    config, layer = model.config.get_text_config(), model.get_output_embeddings()
    scale = 1.0
    for name in SCALES:
        scale *= getattr(config, name, None) or 1.0
    for name in DIVISORS:
        scale /= getattr(config, name, None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    return Head(layer.weight, getattr(layer, "bias", None), scale, cap)


def head_logits(head: Head, hidden_ND: Tensor) -> Tensor:
    """Logits [N, V] as the head gives them, whole; for checks and short rows."""
    logits_NV = torch.nn.functional.linear(hidden_ND, head.weight_VD, head.bias_V) * head.scale
    if head.softcap is None:
        return logits_NV
    return head.softcap * torch.tanh(logits_NV / head.softcap)


@torch.no_grad()
def refuse_unknown_head(model: Any, name: str) -> None:
    """Unsupported when the model's own logits are not those of `head_of`."""
    ids_BT = torch.tensor([[1, 2, 3]], device=model.device)
    wanted = model(input_ids=ids_BT, use_cache=False).logits[0].float()
    states = model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state[0]
    found = head_logits(head_of(model), states).float()
    if not torch.allclose(found, wanted, rtol=2e-2, atol=2e-2 * float(wanted.abs().max())):
        raise Unsupported(
            f"{name} ({model.config.model_type}) does more to its logits than a head, a scale and "
            "a soft cap, so its divergences cannot be computed; take a model of another family"
        )


def refuse_other_tokenizer(student: Any, teacher: Any, name: str) -> None:
    """BadInput unless both tokenizers mean the same token by each id that both have."""
    mine, theirs = ({i: t for t, i in each.get_vocab().items()} for each in (student, teacher))
    wrong = next((i for i in sorted(mine.keys() & theirs.keys()) if mine[i] != theirs[i]), None)
    apart = len(mine.keys() ^ theirs.keys())
    if wrong is None and apart <= PADDING_AT_MOST:
        return
    found = (
        f"{apart} tokens are in one of them only"
        if wrong is None
        else f"token {wrong} is {theirs[wrong]!r} to it and {mine[wrong]!r} to the student"
    )
    raise BadInput(
        f"the teacher {name} reads with another tokenizer ({found}), so probabilities of tokens "
        "cannot be compared; take a teacher of the student's family, say teacher: self, or train "
        "on its responses (distill teach responses, then distill train; see docs/pride.md)"
    )


class LiveTeacher:
    """A causal model in memory; `hidden` runs it without gradients, never cutting a prompt."""

    def __init__(self, model: Any, tokenizer: Any, name: str, context: int | None = None) -> None:
        refuse_unknown_head(model, name)
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        model.requires_grad_(False)
        self.head = head_of(model)
        self.device: torch.device = self.head.weight_VD.device
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.context: int | None = context or longest

    @torch.no_grad()
    def hidden(self, taught: Sequence[Taught]) -> Tensor:
        """States [N, E] of all reply tokens; BadInput names a dialogue that is too long."""
        for each in taught:
            self.refuse_unread(each)
        return torch.cat([self.states(part) for part in batches(taught)])

    def states(self, taught: Sequence[Taught]) -> Tensor:
        longest = max(len(each.ids) for each in taught)
        ids_BT = torch.zeros(len(taught), longest, dtype=torch.long)
        seen_BT, kept_BT = ids_BT.clone(), ids_BT.bool()
        for row, each in enumerate(taught):
            size, start = len(each.ids), len(each.prompt_ids)
            ids_BT[row, :size] = torch.tensor(each.ids)
            seen_BT[row, :size] = 1
            # The state at a position predicts the token after it.
            kept_BT[row, start - 1 : size - 1] = True
        out = self.model.base_model(
            input_ids=ids_BT.to(self.device),
            attention_mask=seen_BT.to(self.device),
            use_cache=False,
        )
        states_NE: Tensor = out.last_hidden_state[kept_BT.to(self.device)]
        return states_NE

    def refuse_unread(self, taught: Taught) -> None:
        if not taught.prompt_ids:
            raise BadInput(f"dialogue {taught.dialogue_id or taught.key} has no teacher's prompt")
        if self.context is not None and len(taught.ids) > self.context:
            raise BadInput(
                f"dialogue {taught.dialogue_id or taught.key} is {len(taught.ids)} tokens with the "
                f"teacher's prompt, and {self.name} reads {self.context}; it is never cut, since "
                "that would cut the privileged fields: leave the dialogue out, or take a teacher "
                "with a longer context"
            )


def batches(taught: Sequence[Taught]) -> Iterator[Sequence[Taught]]:
    """The same in their order, in parts of at most TOKENS_AT_ONCE tokens with their padding."""
    start, longest = 0, 0
    for place, each in enumerate(taught):
        longest = max(longest, len(each.ids))
        if place > start and longest * (place - start + 1) > TOKENS_AT_ONCE:
            yield taught[start:place]
            start, longest = place, len(each.ids)
    yield taught[start:]


def live_teacher(
    source: str,
    *,
    adapter: Path | None = None,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    bits: int | None = None,
    name: str | None = None,
) -> LiveTeacher:
    """Load a teacher from a folder or a name of the Hub, on any device.

    adapter: a folder of low-rank updates to add to it, merged.
    bits: 4 for NF4 on a CUDA GPU; Unsupported elsewhere.
    """
    if bits == 4 and not (find_spec("bitsandbytes") and device.startswith("cuda")):
        raise Unsupported(
            "a teacher in 4 bits needs a CUDA GPU and bitsandbytes, which are not both here; "
            "leave teacher.bits out of the recipe"
        )
    folder = fetched_folder(source)
    options: dict[str, Any] = {"dtype": dtype}
    if bits == 4:
        quantization: Any = transformers.BitsAndBytesConfig
        options["quantization_config"] = quantization(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
        options["device_map"] = {"": device}
    model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    if adapter is not None:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    if bits != 4:
        model = model.to(device)
    return LiveTeacher(model, AutoTokenizer.from_pretrained(folder), name or source)
