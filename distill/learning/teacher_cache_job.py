"""From the words of `distill teach states` to a finished store.

In: where the replies lie, who the teacher is, in which form it is stored. Out: the size, before
any weight loads; a store with its index and its check. Refused: what cannot be stored so
(BadInput), a store that is not what the teacher says (CheckFailed).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from distill.core.asking import shard
from distill.core.errors import BadInput, CheckFailed
from distill.core.jsonl import digest_text, sha256_of
from distill.learning.origin import fetched_folder
from distill.learning.privileged import Asking, asking_digest
from distill.learning.student import DTYPES, device_now, precision_on, read_config
from distill.learning.teacher import Taught, live_teacher, refuse_other_tokenizer
from distill.learning.teacher_cache import (
    FORMAT,
    Identity,
    Layout,
    Precision,
    StoreHeader,
    refuse_layout,
    vocabulary_digest,
    vocabulary_size,
)
from distill.learning.teacher_cache_capture import capture, check
from distill.learning.teacher_cache_reader import Store
from distill.learning.teacher_cache_replies import (
    Asked,
    Reply,
    knowledge_of,
    read_service,
    replies_in,
    service_rows,
    taught_of,
)
from distill.learning.teacher_cache_top_k import token_names
from distill.learning.teacher_cache_writer import StoreWriter, begin, write_index


@dataclass(frozen=True)
class Wish:
    """What the command line said; `top_logprobs` is a file of what a service sent."""

    data: Path
    teacher: str
    student: str | None
    privileged: Path | None
    asking: Asking
    plain_too: bool
    precision: Precision
    group: int
    top_k: int | None
    top_logprobs: Path | None
    part: str | None


@dataclass(frozen=True)
class Plan:
    """Which replies will be stored, whose, in which form; nothing heavy is loaded yet."""

    wish: Wish
    by_response: Sequence[tuple[Reply, list[Taught]]]
    header: StoreHeader
    vocabulary: Mapping[str, int]
    folder: Path | None
    student: Any

    @property
    def replies(self) -> list[Taught]:
        """Each key once."""
        return list({one.key: one for _, found in self.by_response for one in found}.values())

    @property
    def part(self) -> str:
        return (self.wish.part or "1/1").replace("/", "-of-")


def planned(wish: Wish) -> Plan:
    """Read replies, tokenizers and the teacher's configuration."""
    remote = wish.top_logprobs is not None
    if remote and not (wish.student and wish.top_k):
        raise BadInput(
            "--top-logprobs needs --student, whose tokenizer names the tokens, and --top-k"
        )
    folder = None if remote else fetched_folder(wish.teacher)
    student = tokenizer_of(fetched_folder(wish.student) if wish.student else folder)
    teacher = student if folder is None else tokenizer_of(folder)
    refuse_other_tokenizer(student, teacher, wish.teacher)
    width = 0 if folder is None else read_config(str(folder)).get_text_config().hidden_size
    layout = Layout(
        tier="top-k" if wish.top_k else "states",
        width=width,
        vocabulary=vocabulary_size(teacher),
        precision=wish.precision,
        group=wish.group,
        top_k=wish.top_k,
    )
    refuse_layout(layout)
    identity = Identity(
        teacher=wish.teacher,
        teacher_sha256=digest_text(wish.teacher) if folder is None else sha256_of(folder),
        vocabulary_sha256=vocabulary_digest(teacher),
        template_sha256=digest_text(str(teacher.chat_template)),
        prompt_sha256=asking_digest(wish.asking),
    )
    asked = Asked(wish.asking, knowledge_of(wish.data, wish.privileged), wish.plain_too)
    chosen = shard(replies_in(wish.data), wish.part, name_of)
    by_response = [(one, list(taught_of(one, asked, student, teacher))) for one in chosen]
    header = StoreHeader(
        format=FORMAT, identity=identity, layout=layout, logit_scale=1.0, softcap=None
    )
    return Plan(wish, by_response, header, teacher.get_vocab(), folder, student)


def name_of(reply: Reply) -> str:
    return json.dumps(reply.messages)


def tokenizer_of(folder: Path | None) -> Any:
    """BadInput without a chat template: nobody could say where a reply begins."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise BadInput(f"{folder} has no chat template; add chat_template.jinja to it")
    return tokenizer


def store_model(plan: Plan, out: Path, shard_bytes: int) -> dict[str, Any]:
    """Ask the teacher for what is not there yet, index, and ask again for a sample."""
    assert plan.folder is not None
    device = device_now()
    dtype = DTYPES[precision_on(device, "auto")]
    teacher = live_teacher(str(plan.folder), dtype=dtype, device=device, name=plan.wish.teacher)
    head = teacher.head
    header = plan.header.model_copy(update={"logit_scale": head.scale, "softcap": head.softcap})
    begin(out, header, None if plan.wish.top_k else head, plan.vocabulary)
    writer = StoreWriter(out, part=plan.part, shard_bytes=shard_bytes)
    computed = capture(teacher, plan.replies, writer, header.layout)
    store = finished(plan, out)
    checked = check(store, teacher, plan.replies)
    return {**figures(store, computed), "check": asdict(checked)}


def store_service(plan: Plan, out: Path) -> dict[str, Any]:
    """What a service sent, as rows; a reply without log-probabilities is left out and counted."""
    assert plan.wish.top_logprobs is not None and plan.wish.top_k is not None
    known = [reply.response_id for reply, _ in plan.by_response]
    sent = read_service(plan.wish.top_logprobs, known)
    begin(out, plan.header, None, plan.vocabulary)
    writer, names = StoreWriter(out, part=plan.part), token_names(plan.student)
    before = len(writer.known)
    scored = [(found, sent[one.response_id]) for one, found in plan.by_response
              if one.response_id in sent]  # fmt: skip
    for found, content in scored:
        # The service was asked once, by the first view.
        first = found[0]
        writer.add(first, service_rows(content, first.reply_ids, names, plan.wish.top_k))
    writer.flush()
    write_index(out)
    store = Store(out)
    return {
        **figures(store, len(writer.known) - before),
        "without_logprobs": len(plan.by_response) - len(scored),
        "check": None,
    }


def finished(plan: Plan, out: Path) -> Store:
    """The indexed store; CheckFailed when a reply of this run is not in it."""
    write_index(out)
    store = Store(out)
    lost = [one for one in plan.replies if not store.has(one)]
    if lost:
        raise CheckFailed(
            f"{out} lacks {len(lost)} replies that were stored, dialogue {lost[0].dialogue_id} "
            "among them: another run wrote to it, or files were deleted; run the same command again"
        )
    return store


def figures(store: Store, computed: int) -> dict[str, Any]:
    size = sum(file.stat().st_size for file in store.folder.iterdir())
    return {
        "store": str(store.folder),
        "tier": store.layout.tier,
        "replies": len(store),
        "tokens": store.tokens,
        "computed": computed,
        "bytes_per_token": store.layout.row_bytes,
        "size_bytes": size,
    }
