"""The gate: is the file still the student?

In: a checkpoint, its F16 file, the quantized file, conversations. Out: a record of every figure,
with `failed`, the list of those that miss their limit. Text must be identical: template bytes,
rendered prompts, token ids, end tokens. Logits must be near: mean KL divergence and top-1.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from distill.core.errors import BadInput
from distill.core.progress import track
from export.agreement import (
    TEXT,
    Agreement,
    Passage,
    Source,
    Writer,
    compare,
    rows_of_file,
    rows_of_torch,
)
from export.checkpoint import Checkpoint
from export.conversations import Messages, bundled, normalized, read, spread
from export.session import Session
from export.text_parity import IDENTICAL, ids, rendered, text_failures, unicode_form

LONGEST_PASSAGE = 512
REPLY_TOKENS = 48
BATCH = 64
TORCH = "torch"
BUNDLED = "bundled conversations"


@dataclass(frozen=True)
class Limit:
    """What a file of so many bits may differ from its reference."""

    mean_kld: float
    top1: float


LIMITS = {
    32: Limit(0.001, 0.99),
    16: Limit(0.001, 0.99),
    8: Limit(0.005, 0.97),
    6: Limit(0.02, 0.95),
    5: Limit(0.04, 0.92),
    4: Limit(0.08, 0.88),
    3: Limit(0.2, 0.8),
    2: Limit(0.6, 0.65),
    1: Limit(2.0, 0.4),
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
        return Texts(ours, ours, BUNDLED)
    theirs = spread(read(path))
    return Texts(ours + theirs, theirs, path.name)


def gate(
    checkpoint: Checkpoint,
    files: dict[str, tuple[Path, int]],
    texts: Texts,
    *,
    reader: Callable[..., Session] = Session,
) -> dict[str, Any]:
    """Compare torch with the first file and each file with the one before; bits set the limit."""
    form = unicode_form(checkpoint)
    exact = [normalized(m, form) for m in texts.exact]
    measured = [normalized(m, form) for m in texts.measured]
    bits = {name: bits for name, (_, bits) in files.items()}
    context = LONGEST_PASSAGE + REPLY_TOKENS
    with ExitStack() as stack:
        sessions = {
            name: stack.enter_context(reader(path, context=context, batch=BATCH))
            for name, (path, _) in files.items()
        }
        first, *others = sessions
        failed = text_failures(checkpoint, list(sessions.values())[-1], exact)
        if failed:
            return record_of(texts, measured, form, failed)
        writer = Writer(sessions[first])
        sources: dict[str, Source] = {TORCH: rows_of_torch(checkpoint.reference(), BATCH)}
        sources |= {first: writer} | {name: rows_of_file(sessions[name]) for name in others}
        passages = passages_of(checkpoint, writer, measured)
        links, passes = linked(sources, bits, passages, len(measured))
    return record_of(texts, measured, form, [], links, passes)


def linked(
    sources: dict[str, Source], bits: Mapping[str, int], passages: Iterable[Passage], count: int
) -> tuple[list[dict[str, Any]], float]:
    """Figures beside limits for each pair of neighbours, and the forward passes that they cost.

    The first source is the reference; where more than one candidate follows, it reads every
    second passage only, so that the whole stays within two and a half passes of the text.
    """
    reads: Counter[str] = Counter()
    first = next(iter(sources))
    spared = first if len(sources) > 2 else None
    pairs = compare(
        sources, passages, lambda p: track(p, "compare", count), spared=spared, reads=reads
    )
    if not reads[TEXT]:
        raise BadInput("the chat template takes none of the gate's conversations; give others")
    links = [judged(pair, LIMITS[bits[pair.candidate]]) for pair in pairs]
    return links, sum(reads[name] for name in sources) / reads[TEXT]


def record_of(
    texts: Texts,
    measured: Sequence[Messages],
    form: str | None,
    failed: Sequence[str],
    links: Sequence[dict[str, Any]] = (),
    passes: float = 0.0,
) -> dict[str, Any]:
    """What a manifest keeps of a gate; `failed` are differences of text, which end it at once."""
    problems = [*failed, *(problem for link in links for problem in link["failed"])]
    return {
        "passed": not problems,
        "failed": problems,
        "conversations": len(measured),
        "text": texts.source,
        "text_sha256": hashlib.sha256(json.dumps(measured).encode()).hexdigest(),
        "unicode_form": form,
        "identical": list(IDENTICAL) if links else [],
        "forward_passes": round(passes, 3),
        "links": list(links),
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


def with_changes(
    parity: dict[str, Any], found: Mapping[str, Any], recorded: Mapping[str, Any]
) -> dict[str, Any]:
    """A gate's record that also fails where a file does not hold what its manifest says."""
    changed = [key for key, value in found.items() if recorded.get(key) != value]
    if changed:
        parity["failed"].append(f"the manifest's quantization differs in {', '.join(changed)}")
    return parity


class Replying(Protocol):
    """A file that can write a reply."""

    def greedy(self, prompt: Sequence[int], limit: int) -> list[int]:
        """The most likely continuation, at most `limit` tokens, with the end token if it came."""

    def ends(self, token: int) -> bool:
        """Whether generation stops at this token."""


def passages_of(
    checkpoint: Checkpoint, writer: Replying, conversations: Sequence[Messages]
) -> Iterator[Passage]:
    """Each conversation as tokens, with the greedy reply of the first file where one is due.

    Lazily: a writer that remembers what it computed for the last one need not compute it again.
    """
    for messages in conversations:
        asks = messages[-1]["role"] == "user"
        text = rendered(checkpoint, messages, asks)
        if text is None:
            continue
        prompt = ids(checkpoint, text)[:LONGEST_PASSAGE]
        reply = writer.greedy(prompt, REPLY_TOKENS if asks else 0)
        if len(prompt) + len(reply) > 1:
            ended = bool(reply) and writer.ends(reply[-1])
            yield Passage(prompt + reply, len(prompt), ended)
