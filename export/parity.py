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

from jinja2 import TemplateError

import runtime
from distill.core.errors import BadInput, Unsupported
from distill.core.progress import track
from export.agreement import Agreement, Passage, compare, rows_of_file, rows_of_torch
from export.checkpoint import Checkpoint
from export.conversations import Messages, bundled, normalized, read, spread
from export.session import Session
from runtime.engine import Engine
from runtime.template import ChatTemplate

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


IDENTICAL = ("chat template", "rendered prompts", "token ids", "end tokens")


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


def text_failures(
    checkpoint: Checkpoint, session: Session, conversations: Sequence[Messages]
) -> list[str]:
    """What the file says in other bytes or tokens than the checkpoint; each kind once."""
    own = session.template()
    if own != checkpoint.template:
        return [
            f"the chat template differs ({digest(own)}, expected {digest(checkpoint.template)})"
        ]
    special = session.special()
    begin, end = (session.token_text(special[k]) if special[k] >= 0 else "" for k in ("bos", "eos"))
    begin = begin if checkpoint.tokenizer.bos_token else ""
    try:
        template = ChatTemplate(own, begin=begin, end=end)
    except Unsupported as error:
        return [f"the runtime does not take the chat template: {error}"]
    failed: dict[str, str] = {}
    with runtime.load(session.path, context=64) as engine:
        for number, messages in enumerate(conversations, 1):
            for kind in differences(checkpoint, session, template, engine, messages):
                failed.setdefault(kind, f"{kind} differ on conversation {number}")
    unended = [token for token in checkpoint.end_tokens() if not session.ends(token)]
    if unended:
        failed["end"] = f"generation does not stop at token {unended[0]}, as the checkpoint's does"
    return list(failed.values())


def differences(
    checkpoint: Checkpoint,
    session: Session,
    template: ChatTemplate,
    engine: Engine,
    messages: Messages,
) -> Iterator[str]:
    """Kinds of text in which file and checkpoint differ on one conversation."""
    # The runtime takes a typed `<|end|>` for text, and Hugging Face for the token.
    typed = any(t in m["content"] for m in messages for t in engine.backend.control)
    for reply_next in (False, True):
        wanted = rendered(checkpoint, messages, reply_next)
        try:
            found = template.render(messages, reply_next=reply_next)
        except BadInput:
            found = None
        if wanted != found:
            yield "rendered prompts"
        elif wanted is not None:
            expected = ids(checkpoint, wanted)
            if session.tokens(wanted) != expected:
                yield "token ids of prompts"
            elif not typed and engine.prompt_ids(messages, reply_next=reply_next) != expected:
                yield "token ids of the runtime's prompts"
    for message in messages:
        text = message["content"]
        if session.tokens(text, add_special=True) != ids(checkpoint, text, framed=True):
            yield "token ids of messages"


def rendered(checkpoint: Checkpoint, messages: Messages, reply_next: bool) -> str | None:
    """The checkpoint's own prompt; None where its template refuses the messages."""
    try:
        text: str = checkpoint.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=reply_next
        )
    except TemplateError:
        return None
    return text


def ids(checkpoint: Checkpoint, text: str, *, framed: bool = False) -> list[int]:
    tokens: list[int] = checkpoint.tokenizer(text, add_special_tokens=framed).input_ids
    return tokens


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


def unicode_form(checkpoint: Checkpoint) -> str | None:
    """The Unicode form to which the checkpoint's tokenizer brings text; llama.cpp does not."""
    normalizer = json.loads(checkpoint.tokenizer.backend_tokenizer.to_str()).get("normalizer")
    kind = (normalizer or {}).get("type")
    return kind if kind in ("NFC", "NFD", "NFKC", "NFKD") else None


def digest(text: str | None) -> str:
    return "none" if text is None else hashlib.sha256(text.encode()).hexdigest()[:8] + "..."
