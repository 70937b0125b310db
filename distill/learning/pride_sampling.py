"""The student's own replies, for the steps on which it learns from what it would say.

In: the plain student, rows. Out: the same rows with sampled replies. Refused: nothing.

The divergence then is of the student's own prefixes (arXiv 2306.13649), where it makes its
mistakes. The seed is the step's, so a resumed run samples what the uninterrupted one did.
"""

import zlib
from collections.abc import Sequence
from typing import Any

import torch
import transformers

from distill.learning.pride_rows import Row
from distill.learning.stage import inner_model
from distill.recipe import OnPolicy

GenerationConfig: Any = transformers.GenerationConfig


@torch.no_grad()
def own_replies(
    student: Any, rows: Sequence[Row], policy: OnPolicy, stops: Sequence[int], seed: str
) -> list[Row]:
    """Sample a reply to each row's prompt, up to and with its first stop token."""
    device = inner_model(student).device
    longest = max(len(row.prompt_ids) for row in rows)
    ids_BT = torch.zeros(len(rows), longest, dtype=torch.long)
    seen_BT = torch.zeros_like(ids_BT)
    for place, row in enumerate(rows):
        ids_BT[place, longest - len(row.prompt_ids) :] = torch.tensor(row.prompt_ids)
        seen_BT[place, longest - len(row.prompt_ids) :] = 1
    asked = GenerationConfig(
        do_sample=True,
        temperature=policy.temperature,
        top_k=0,
        top_p=1.0,
        max_new_tokens=policy.max_new_tokens,
        eos_token_id=list(stops),
        pad_token_id=stops[0],
    )
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(zlib.crc32(f"{seed}/{[row.index for row in rows]}".encode()))
        said_BT = student.generate(
            input_ids=ids_BT.to(device),
            attention_mask=seen_BT.to(device),
            generation_config=asked,
        )
    replies = said_BT[:, longest:].tolist()
    return [
        row.answered(until_stop(reply, stops)) for row, reply in zip(rows, replies, strict=True)
    ]


def until_stop(reply: Sequence[int], stops: Sequence[int]) -> tuple[int, ...]:
    end = next((place + 1 for place, token in enumerate(reply) if token in stops), len(reply))
    return tuple(reply[:end])
