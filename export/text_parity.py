"""Whether a file says the same in the same bytes: template, prompts, token ids, end tokens.

In: a checkpoint, its opened file, conversations. Out: what differs, each kind named once.
Prompts are rendered and tokenized by the runtime, as they will be when the file is served.
"""

import hashlib
from collections.abc import Iterator, Sequence

from jinja2 import TemplateError

import runtime
from distill.core.errors import BadInput, Unsupported
from export import pretokenizer
from export.checkpoint import Checkpoint
from export.conversations import Messages
from export.session import Session
from runtime.engine import Engine
from runtime.template import ChatTemplate

IDENTICAL = ("chat template", "rendered prompts", "token ids", "end tokens")
STAND_IN = "kindred"


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
    return [*failed.values(), *end_failures(checkpoint, session)]


def end_failures(checkpoint: Checkpoint, session: Session) -> Iterator[str]:
    """Tokens at which a reply ends, by the checkpoint or by its template, and the file goes on."""
    for token in checkpoint.end_tokens():
        if not session.ends(token):
            yield f"generation does not stop at token {token}, as the checkpoint's does"
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": STAND_IN}]
    after = (rendered(checkpoint, turns, False) or "").rpartition(STAND_IN)[2]
    special = set(checkpoint.tokenizer.all_special_ids) | set(session.control())
    last = next((token for token in ids(checkpoint, after) if token in special), None)
    if last is not None and not session.ends(last):
        yield (
            f"a reply ends with {session.token_text(last)} by the template, and generation does "
            "not stop there: add it to eos_token_id in generation_config.json"
        )


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
    # Where only the very start of a text differs, what counts is the text behind a control token.
    alike = session.tokens("a") == ids(checkpoint, "a")
    lead = "" if alike else session.token_text(session.special()["eos"])
    for message in messages:
        text = lead + message["content"]
        if session.tokens(text, add_special=alike) != ids(checkpoint, text, framed=alike):
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


def unicode_form(checkpoint: Checkpoint) -> str | None:
    """The Unicode form to which the checkpoint's tokenizer brings text; llama.cpp does not."""
    form: str | None = pretokenizer.unicode_form(checkpoint.tokenizer)
    return form


def digest(text: str | None) -> str:
    return "none" if text is None else hashlib.sha256(text.encode()).hexdigest()[:8] + "..."
