"""The gate: is the file still the student?

In: a checkpoint, its F16 file, the quantized file, conversations. Out: a record of every figure,
with `failed`, the list of those that miss their limit. Text must be identical: template bytes,
rendered prompts, token ids, end tokens. Logits must be near: mean KL divergence and top-1.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.progress import track
from export.agreement import Agreement, Passage, compare, rows_of_file, rows_of_torch
from export.checkpoint import Checkpoint
from export.conversations import Messages, bundled, normalized, read, spread
from export.session import Session
from export.text_parity import IDENTICAL, ids, rendered, text_failures, unicode_form

LONGEST_PASSAGE = 512
REPLY_TOKENS = 48
BATCH = 64
TORCH = "torch"


@dataclass(frozen=True)
class Limit:
    """What a file of so many bits may differ from its reference."""

    mean_kld: float
    top1: float


LIMITS = {
    16: Limit(0.001, 0.99),
    8: Limit(0.005, 0.97),
    6: Limit(0.02, 0.95),
    5: Limit(0.04, 0.92),
    4: Limit(0.08, 0.88),
}


@dataclass(frozen=True)
class Texts:
    """What is compared: `exact` for prompts and token ids, `measured` for logits."""

    exact: list[Messages]
    measured: list[Messages]
    source: str


SKIPPED: dict[str, Any] = {"passed": None, "failed": [], "identical": [], "links": []}


def texts_for(path: Path | None) -> Texts:
    """The bundled conversations, and those of a file of held-out dialogues where one is given."""
    ours = bundled()
    if path is None:
        return Texts(ours, ours, "bundled conversations")
    theirs = spread(read(path))
    return Texts(ours + theirs, theirs, path.name)


def gate(
    checkpoint: Checkpoint, files: dict[str, tuple[Path, int]], texts: Texts
) -> dict[str, Any]:
    """Compare torch with the first file and each file with the one before; bits set the limit."""
    form = unicode_form(checkpoint)
    exact = [normalized(m, form) for m in texts.exact]
    measured = [normalized(m, form) for m in texts.measured]
    context = LONGEST_PASSAGE + REPLY_TOKENS
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(Session(path, context=context, batch=BATCH))
            for name, (path, _) in files.items()
        }
        last = list(sessions.values())[-1]
        failed = text_failures(checkpoint, last, exact)
        pairs: list[Agreement] = []
        if not failed:
            passages = list(passages_of(checkpoint, next(iter(sessions.values())), measured))
            sources = {TORCH: rows_of_torch(checkpoint.reference(), BATCH)}
            sources |= {name: rows_of_file(session) for name, session in sessions.items()}
            pairs = compare(sources, passages, lambda p: track(p, "compare", len(p)))
    links = [judged(pair, LIMITS[files[pair.candidate][1]]) for pair in pairs]
    failed += [problem for link in links for problem in link["failed"]]
    return {
        "passed": not failed,
        "failed": failed,
        "conversations": len(measured),
        "text": texts.source,
        "text_sha256": hashlib.sha256(json.dumps(measured).encode()).hexdigest(),
        "unicode_form": form,
        "identical": [] if failed and not links else list(IDENTICAL),
        "links": links,
    }


def judged(pair: Agreement, limit: Limit) -> dict[str, Any]:
    """The figures of a pair beside their limits, and what fails them."""
    figures = pair.figures()
    names = f"{pair.candidate} against {pair.reference}"
    failed = []
    if not figures["mean_kld"] <= limit.mean_kld:
        failed.append(f"{names}: mean KLD {figures['mean_kld']:.4g} > {limit.mean_kld:g}")
    if not figures["top1"] >= limit.top1:
        failed.append(f"{names}: top-1 {figures['top1']:.2%} < {limit.top1:.0%}")
    limits = {"most_mean_kld": limit.mean_kld, "least_top1": limit.top1}
    return figures | limits | {"failed": failed}


def passages_of(
    checkpoint: Checkpoint, writer: Session, conversations: Sequence[Messages]
) -> Iterator[Passage]:
    """Each conversation as tokens, with the greedy reply of the first file where one is due."""
    for messages in track(conversations, "replies", len(conversations)):
        asks = messages[-1]["role"] == "user"
        text = rendered(checkpoint, messages, asks)
        if text is None:
            continue
        prompt = ids(checkpoint, text)[:LONGEST_PASSAGE]
        reply = writer.greedy(prompt, REPLY_TOKENS) if asks else []
        if len(prompt) + len(reply) > 1:
            ended = bool(reply) and writer.ends(reply[-1])
            yield Passage(prompt + reply, len(prompt), ended)
